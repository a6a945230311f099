"""Unusual requests: what is looked at, what is flagged and refused, and who is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from gateway_paper import chat_or_stream
from gateway_rig import MODEL, OPTIONS, Client
from guard_rig import chat

from guideway.core.guardrails import REFUSAL, Guardrails, Outlier
from guideway.core.terms import Terms
from guideway.gateway.errors import ApiError
from guideway.gateway.guard import Guard, Unusual
from guideway.gateway.guard.newest import newest
from guideway.pipeline.stages.reference.learn import learnt, looked_at

sys.path.append(str(Path(__file__).parents[1] / "core"))
from outlier_prompts import STRANGE, ordinary

PROMPTS = looked_at(ordinary(1200))
REFERENCE = learnt(PROMPTS[400:], PROMPTS[:400])
PLAIN = "please check my order today"
FLAGS, REFUSES = Outlier(flag=0.99), Outlier(flag=0.9, refuse=0.99)


def guard(rule: Outlier) -> Guard:
    return Guard(Guardrails(outlier=rule), reference=REFERENCE)


@pytest.mark.parametrize(
    ("body", "texts"),
    [
        (chat("one", "two"), ("two",)),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}, ("q",)),
        ({"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "r"}]}, ("q",)),
        ({"messages": [{"role": "oracle", "content": "q"}, {"role": "system", "content": "s"}]}, ("q",)),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, "b", 7]}]}, ("a\nb",)),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, ("",)),
        ({"messages": [{"role": "system", "content": "s"}]}, ()),
        ({"messages": "no", "prompt": "p"}, ("p",)),
        ({"prompt": ["a", "b"]}, ("a", "b")),
        ({"input": "x"}, ("x",)),
        ({"inputs": [{"name": "text", "datatype": "BYTES", "data": ["a", "b"]}, 7]}, ("a", "b")),
        ({"prompt": [1, 2]}, ()),
        ({}, ()),
    ],
)
def test_what_is_asked_now_is_looked_at(body, texts):
    assert newest(body) == texts


@pytest.mark.parametrize("text", STRANGE)
def test_what_is_unusual_is_flagged_or_refused_as_the_release_says(text):
    told = guard(FLAGS).weigh(chat("hello", text))
    assert told.flagged and told.share == 1 / 401
    refused = guard(REFUSES).weigh(chat(text))
    assert isinstance(refused, Unusual) and refused.share == 1 / 401
    assert (refused.status, refused.message, refused.code, refused.kind) == (400, REFUSAL, "content_filter", "outlier")


def test_what_is_ordinary_passes_with_its_share():
    for rule in (FLAGS, REFUSES):
        share, flagged = guard(rule).weigh(chat(PLAIN))
        assert share > 0.1 and not flagged


def test_a_hundred_ordinary_prompts_at_once_are_no_outlier():
    assert not guard(FLAGS).weigh({"prompt": ordinary(100)}).flagged
    assert guard(FLAGS).weigh({"prompt": [PLAIN, PLAIN, PLAIN, STRANGE[1]]}).flagged


def test_tokens_that_nobody_can_read_are_refused_where_outliers_are():
    refused = guard(REFUSES).weigh({"prompt": [1, 2, 3]})
    assert isinstance(refused, ApiError) and refused.kind == "tokens"
    assert guard(FLAGS).weigh({"prompt": [1, 2, 3]}) == (None, False)


def test_a_rule_that_fails_refuses_only_where_it_may():
    class Broken(dict):
        def get(self, *_):
            raise RuntimeError

    assert guard(REFUSES).weigh(Broken()).kind == "failed"
    assert guard(FLAGS).weigh(Broken()) == (None, False)


def test_rule_and_reference_come_together_and_whole():
    for rules, reference in ((Guardrails(outlier=FLAGS), None), (Guardrails(), REFERENCE)):
        with pytest.raises(ValueError, match="come together"):
            Guard(rules, reference=reference)
    with pytest.raises(ValueError, match="not whole"):
        Guard(Guardrails(outlier=FLAGS), reference=REFERENCE[:-1])


def terms(folder: Path, rule: Outlier) -> Terms:
    (folder / "outliers").write_bytes(REFERENCE)
    return Terms(guardrails=Guardrails(neutralise=False, outlier=rule), outliers=str(folder / "outliers"))


def ask(text, **more):
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def lines(gateway, capsys):
    gateway.loop.call(gateway.plane.reports.flush)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in told if line["event"] == "request"]


@pytest.mark.parametrize("streams", [False, True])
def test_a_flag_is_told_in_the_head_the_log_and_the_counters(made, replica, tmp_path, capsys, streams):
    gateway = made(OPTIONS)
    gateway.plane.reports._logs = True
    gateway.serve(replica(chat_or_stream("yes")), terms=terms(tmp_path, FLAGS))
    with Client(gateway.port) as client:
        plain, strange = (client.ask(body=ask(text, stream=streams)) for text in (PLAIN, STRANGE[0]))
    assert plain.status == strange.status == 200
    assert "x-guideway-outlier" not in plain.headers and strange.headers["x-guideway-outlier"] == "0.002494"
    one, two = lines(gateway, capsys)
    assert one["outlier"] > 0.1 and two["outlier"] == 0.002494
    counters = gateway.plane.reports.metrics.snapshot(0.0).counters
    assert counters["outliers"] == {"1": 1, "0.01": 1} and counters["flagged"] == {"": 1}


def test_a_refusal_reaches_no_replica_and_does_not_say_why(made, replica, tmp_path, capsys):
    gateway, model = made(OPTIONS), replica(chat_or_stream("yes"))
    gateway.plane.reports._logs = True
    gateway.serve(model, terms=terms(tmp_path, REFUSES))
    with Client(gateway.port) as client:
        reply = client.ask(body=ask(STRANGE[0]))
        long = client.ask(body=ask(STRANGE[4] * 20))
    assert reply.status == long.status == 400 and reply.json()["error"]["message"] == REFUSAL
    assert "outlier" not in f"{reply.headers}{reply.body}" and model.asked == []
    assert [line["outlier"] for line in lines(gateway, capsys)] == [0.002494] * 2
    counters = gateway.plane.reports.metrics.snapshot(0.0).counters
    assert counters["guarded"] == {"outlier": 2} and counters["flagged"] == {}


def test_without_a_rule_nothing_is_looked_at_or_told(gateway, replica, capsys):
    gateway.plane.reports._logs = True
    gateway.serve(replica(chat_or_stream("yes")))
    with Client(gateway.port) as client:
        assert "x-guideway-outlier" not in client.ask(body=ask(STRANGE[0])).headers
    assert "outlier" not in lines(gateway, capsys)[0]
    assert gateway.plane.reports.metrics.snapshot(0.0).counters["outliers"] == {}


def test_a_reference_that_cannot_be_read_is_not_served_with(gateway, replica, tmp_path):
    wrong = terms(tmp_path, FLAGS)
    (tmp_path / "outliers").write_bytes(REFERENCE[:-1])
    with pytest.raises(ValueError, match="not whole"):
        gateway.serve(replica(chat_or_stream("yes")), terms=wrong)
    with Client(gateway.port) as client:
        assert client.ask(body=ask(PLAIN)).status == 503
