"""What users corrected becomes rows to train on: with its prompt, masked, once, and nothing else of anybody."""

from __future__ import annotations

import json

import msgspec
import pytest

from guideway.core.feedback import Judgement
from guideway.core.spec import Data
from guideway.gateway.lessons import TWICE, UNFIT, UNKEPT, UNSAID, Rights, lessons, prompts_of
from guideway.pipeline.stages.data.clean import clean_row

RIGHTS = Rights("CC-BY-4.0", "terms of 2026, 4")
ID = "a" * 48


def said(request=ID, **more):
    plain = {"thumb": "down", "correction": "At nine."}
    return Judgement(request, "k1", "acme", "dev", "5555555555", "stable", 1.8e9, **{**plain, **more})


def body(*turns, **more):
    roles = ("user", "assistant")
    return json.dumps({"messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)], **more})


def line(request, prompt, event="request"):
    return json.dumps({"at": 1.0, "event": event, "id": request, "prompt": prompt}).encode() + b"\n"


def test_a_correction_and_its_prompt_are_a_row_that_the_next_build_reads():
    (row,), left = lessons([said()], {ID: body("hi", "hello", "when do you open?")}, "chat", RIGHTS)
    assert row["messages"][-2:] == [
        {"role": "user", "content": "when do you open?"},
        {"role": "assistant", "content": "At nine."},
    ]
    assert {name: row[name] for name in row if name != "messages"} == {
        "source": "feedback",
        "release": "5555555555",
        "day": "2027-01-15",
        "licence": "CC-BY-4.0",
        "consent": "terms of 2026, 4",
    }
    assert not left and clean_row(row, Data(sources=()), "chat").response == "At nine."
    assert not {"acme", "k1", ID} & set(json.dumps(row).split('"')), "nobody is found again by it"


def test_each_task_has_its_own_rows():
    (row,), _ = lessons([said(label="hours")], {ID: body("when?")}, "classify", RIGHTS)
    assert (row["text"], row["label"]) == ("when?", "hours")
    (row,), _ = lessons([said()], {ID: json.dumps({"prompt": "We open: "})}, "completion", RIGHTS)
    assert row["text"] == "We open: At nine."


def test_what_is_left_out_is_counted_by_why():
    prompts = {"b" * 48: body("one"), "c" * 48: body("ONE"), "d" * 48: '{"messages": [', "e" * 48: '{"input": "x"}'}
    judged = [said("b" * 48), said("c" * 48), said("d" * 48), said("e" * 48), said("f" * 48), said(correction=" ")]
    rows, left = lessons(judged, prompts, "chat", RIGHTS)
    assert len(rows) == 1 and left == {TWICE: 1, UNFIT: 2, UNKEPT: 1, UNSAID: 1}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        {"role": "tool", "content": "x", "tool_call_id": "1"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    ],
)
def test_a_conversation_of_more_than_texts_is_no_row(message):
    assert lessons([said()], {ID: json.dumps({"messages": [message]})}, "chat", RIGHTS).left_out == {UNFIT: 1}


def test_what_the_environment_let_pass_is_masked_and_its_placeholders_stay():
    asked = body("I am [EMAIL_1], write to ann@example.org from 192.168.7.13")
    (row,), _ = lessons([said(correction="Done: ann@example.org, bob@example.org")], {ID: asked}, "chat", RIGHTS)
    one, two = (message["content"] for message in row["messages"])
    assert one == "I am [EMAIL_1], write to [EMAIL_2] from [IP_1]" and two == "Done: [EMAIL_2], [EMAIL_3]"


def test_prompts_are_found_in_a_log_whatever_else_is_in_it():
    log = [
        b'not json, with a "prompt"\n',
        line("b" * 48, "other"),
        line(ID, "first"),
        line(ID, "no request", event="tale"),
        msgspec.json.encode({"event": "request", "id": ID}) + b"\n",
        b'{"event":"request","id":7,"prompt":"x"}\n',
    ]
    assert prompts_of(log, {ID}) == {ID: "first"}
