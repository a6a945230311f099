"""Answers rewritten on their way: whatever the split, the client reads the same."""

from __future__ import annotations

import itertools
import json

import pytest
from gateway_paper import DONE, completion, event
from hypothesis import given, settings
from hypothesis import strategies as st

from guideway.core.privacy import DEFAULT
from guideway.gateway.rewrite import EVENT_LIMIT, AnswerRewriter
from guideway.gateway.usage import read
from guideway.privacy.mask import Vault
from guideway.privacy.stream import Restore, Stop


class Same:
    """Passes everything."""

    def feed(self, text):
        return text

    def end(self):
        return ""


class Late:
    """Holds everything back until the end."""

    def __init__(self):
        self.held = ""

    def feed(self, text):
        self.held += text
        return ""

    def end(self):
        held, self.held = self.held, ""
        return held


class Stopper:
    """Ends the answer at a word, wherever it is split."""

    def __init__(self, word="stop"):
        self.word, self.said = word, ""

    def feed(self, text):
        before, self.said = len(self.said), self.said + text
        if self.word in self.said:
            raise Stop("word", self.said[before : self.said.index(self.word)])
        return text

    def end(self):
        return ""


def restoring():
    vault = Vault(DEFAULT)
    masked = vault.mask("write to anna@example.org or call 13812345678")
    assert masked == "write to [EMAIL_1] or call [PHONE_1]"
    return vault


def pieces(data: bytes):
    """What a client reads in events: text, reasoning, arguments of calls by number, finish reasons, done."""
    text, reasoning, calls, ends, done = "", "", {}, [], False
    for one in data.decode().replace("\r\n", "\n").split("\n\n"):
        payload = "".join(line[5:].strip() for line in one.split("\n") if line.startswith("data:"))
        if payload == "[DONE]":
            done = True
        elif payload:
            for choice in json.loads(payload).get("choices", ()):
                delta = choice.get("delta", {})
                text += delta.get("content") or choice.get("text") or ""
                reasoning += delta.get("reasoning_content") or ""
                for call in delta.get("tool_calls") or ():
                    calls[call["index"]] = calls.get(call["index"], "") + (call["function"].get("arguments") or "")
                if choice.get("finish_reason"):
                    ends.append(choice["finish_reason"])
    return text, reasoning, calls, ends, done


def chunk(delta, finish=None, index=0):
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    whole = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "poet", "choices": [choice]}
    return b"data: " + json.dumps(whole).encode() + b"\n\n"


def run(rewriter, data, *cuts):
    edges = sorted({0, len(data), *cuts})
    out = b"".join(rewriter.feed(data[start:end]) for start, end in itertools.pairwise(edges))
    return out + rewriter.end()


def test_events_in_which_nothing_changes_pass_byte_for_byte():
    data = b": hello\n\n" + event("a") + b"event: ping\ndata: {}\n\n" + event("b") + chunk({}, "stop") + DONE
    assert run(AnswerRewriter(lambda channel: Same()), data) == data


@pytest.mark.catalogue("B32")
def test_a_placeholder_comes_back_wherever_the_text_and_the_bytes_are_split():
    text = "I wrote to [EMAIL_1] and called [PHONE_1]."
    for at in range(len(text) + 1):
        data = event(text[:at]) + event(text[at:]) + chunk({}, "stop") + DONE
        vault = restoring()
        out = run(AnswerRewriter(lambda channel, vault=vault: Restore(vault)), data)
        assert pieces(out) == ("I wrote to anna@example.org and called 13812345678.", "", {}, ["stop"], True), at


@pytest.mark.catalogue("B32")
def test_every_split_of_the_bytes_reads_the_same():
    data = event("to [EMA") + event("IL_1], please") + chunk({}, "stop") + DONE
    vault = restoring()
    for cut in range(len(data) + 1):
        out = run(AnswerRewriter(lambda channel: Restore(vault)), data, cut)
        assert pieces(out)[0] == "to anna@example.org, please", cut


@pytest.mark.catalogue("B33")
def test_the_arguments_of_a_call_stay_json_when_values_are_put_back():
    vault = Vault(DEFAULT)
    vault.mask("-----BEGIN PRIVATE KEY-----\nMIIB+/=\n-----END PRIVATE KEY-----")
    (name,) = vault.values
    assert "\n" in vault.values[name]
    arguments = json.dumps({"to": "[EMAIL_1]", "secret": name})
    for at in range(len(arguments) + 1):
        head = chunk({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "send", "arguments": ""}}]})
        parts = [
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": one}}]})
            for one in (arguments[:at], arguments[at:])
        ]
        data = head + b"".join(parts) + chunk({}, "tool_calls") + DONE
        out = run(AnswerRewriter(lambda channel: Restore(vault, escape=channel == "arguments")), data)
        calls = pieces(out)[2]
        assert json.loads(calls[0])["secret"] == vault.values[name], at


def test_what_was_held_back_comes_before_the_end_of_its_choice():
    data = event("hel") + event("lo") + chunk({}, "stop") + DONE
    out = run(AnswerRewriter(lambda channel: Late()), data)
    assert pieces(out) == ("hello", "", {}, ["stop"], True)
    assert out.index(b"hello") < out.index(b'"stop"') < out.index(b"[DONE]")


def test_what_was_held_back_comes_out_although_the_stream_just_ends():
    assert pieces(run(AnswerRewriter(lambda channel: Late()), event("hello")))[0] == "hello"


def test_choices_and_channels_do_not_mix():
    data = (
        chunk({"content": "a"}, index=0) + chunk({"content": "b"}, index=1) + chunk({"reasoning_content": "r"}, index=0)
    )
    out = run(AnswerRewriter(lambda channel: Late()), data + chunk({}, "stop", 0) + chunk({}, "stop", 1) + DONE)
    told = [json.loads(line[6:]) for line in out.decode().split("\n\n") if line.startswith("data: {")]
    said = [
        (one["choices"][0]["index"], one["choices"][0]["delta"])
        for one in told
        if any(one["choices"][0]["delta"].values())
    ]
    assert sorted(said, key=str) == [(0, {"content": "a"}), (0, {"reasoning_content": "r"}), (1, {"content": "b"})]


@pytest.mark.parametrize("at", range(1, 12))
def test_a_stream_that_stops_ends_the_answer_for_the_client(at):
    text = "well stop it"
    data = event(text[:at]) + event(text[at:]) + event("never") + chunk({}, "stop") + DONE
    rewriter = AnswerRewriter(lambda channel: Stopper())
    out = run(rewriter, data)
    said, _, _, ends, done = pieces(out)
    assert rewriter.stopped
    assert said in {"well ", "well s", "well st", "well sto"}
    assert (ends, done) == (["content_filter"], True)
    assert b"never" not in out


@pytest.mark.parametrize(
    "bad", [b"data: {broken\n\n", b"data: [1]\n\n", b'data: {"choices":[1]}\n\n', b"x" * (EVENT_LIMIT + 1)]
)
def test_an_event_that_cannot_be_looked_at_is_not_passed(bad):
    with pytest.raises(ValueError, match=r".+"):
        AnswerRewriter(lambda channel: Same()).feed(bad)


def test_a_whole_answer_gets_its_values_back():
    vault = restoring()
    body = completion("I wrote to [EMAIL_1]")
    out = AnswerRewriter(lambda channel: Restore(vault)).whole(body, read(body))
    assert json.loads(out)["choices"][0]["message"]["content"] == "I wrote to anna@example.org"


def test_a_whole_answer_in_which_nothing_changes_is_passed_byte_for_byte():
    body = completion("hello")
    assert AnswerRewriter(lambda channel: Same()).whole(body, read(body)) is body


def test_a_whole_answer_that_is_quiet_is_not_even_taken_apart():
    body = completion("hello")

    def fails(channel):
        raise AssertionError

    assert AnswerRewriter(fails, quiet=lambda text: True).whole(body, read(body)) is body


def test_tokens_that_would_tell_what_the_text_no_longer_does_are_taken_out():
    body = json.loads(completion("please stop it"))
    body["choices"][0]["logprobs"] = {"content": [{"token": "stop"}]}
    out = json.loads(AnswerRewriter(lambda channel: Stopper()).whole(json.dumps(body).encode()))
    assert out["choices"][0]["logprobs"] is None
    assert out["choices"][0]["message"]["content"] == "please "
    assert out["choices"][0]["finish_reason"] == "content_filter"


def test_an_answer_of_another_shape_is_looked_at_too():
    vault = restoring()
    body = b'{"error":{"message":"no [EMAIL_1] here","code":1}}'
    out = AnswerRewriter(lambda channel: Restore(vault)).whole(body)
    assert json.loads(out)["error"]["message"] == "no anna@example.org here"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"choices":[1]}', b'{"choices":'])
def test_a_whole_answer_that_cannot_be_looked_at_is_refused(body):
    with pytest.raises(ValueError, match=r".+"):
        AnswerRewriter(lambda channel: Same()).whole(body)


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=8),
    st.lists(st.integers(0, 4000), max_size=8),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_text_in_any_pieces_reads_as_if_it_had_come_whole(texts, cuts, crlf):
    data = b"".join(map(event, texts)) + chunk({}, "stop") + DONE
    if crlf:
        data = data.replace(b"\n\n", b"\r\n\r\n")
    vault = restoring()
    out = run(AnswerRewriter(lambda channel: Restore(vault)), data, *(cut for cut in cuts if cut < len(data)))
    assert pieces(out)[0] == vault.restore("".join(texts))
