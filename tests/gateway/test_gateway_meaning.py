"""Outliers by meaning: a classifier tells with its answer how far off a request is, and the gateway acts."""

from __future__ import annotations

import json

import msgspec
import pytest
from gateway_paper import unary
from gateway_rig import MODEL, OPTIONS, Client

from guideway.core.guardrails import REFUSAL, Guardrails, Outlier
from guideway.core.spec.gateway import Cache
from guideway.core.terms import Terms

INFER = f"/v2/models/{MODEL}/infer"
ASK = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a fine day"]}]}
ANSWER = json.dumps({"model_name": MODEL, "outputs": []}).encode()
FLAGS, REFUSES = Outlier(flag=0.99, by="meaning"), Outlier(flag=0.9, refuse=0.99, by="meaning")


def tells(share, body=ANSWER, status="200 OK"):
    line = "" if share is None else f"X-Guideway-Outlier: {share}\r\n"
    return unary(body, status, f"Content-Type: application/json\r\n{line}")


@pytest.fixture
def ask(made, replica, capsys):
    """Ask a classifier that says *share*: the reply, the line of the log, and the counters."""

    def run(rule, share, options=OPTIONS, times=1, answer=None, **more):
        gateway = made(options)
        gateway.plane.reports._logs = True
        gateway.serve(replica(answer or tells(share, **more)), terms=Terms(guardrails=Guardrails(outlier=rule)))
        with Client(gateway.port) as client:
            reply = [client.ask(path=INFER, body=ASK) for _ in range(times)][-1]
        gateway.loop.call(gateway.plane.reports.flush)
        told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        line = [one for one in told if one["event"] == "request"][-1]
        return reply, line, gateway.plane.reports.metrics.snapshot(0.0).counters

    return run


def test_a_flag_is_told_in_the_head_the_log_and_the_counters(ask):
    reply, line, counters = ask(FLAGS, "0.004")
    assert (reply.status, reply.body) == (200, ANSWER)
    assert reply.headers["x-guideway-outlier"] == "0.004000" and line["outlier"] == 0.004
    assert counters["outliers"] == {"0.01": 1} and counters["flagged"] == {"": 1}


def test_what_is_ordinary_passes_and_is_counted(ask):
    reply, line, counters = ask(REFUSES, "0.5")
    assert reply.status == 200 and "x-guideway-outlier" not in reply.headers
    assert line["outlier"] == 0.5 and counters["outliers"] == {"1": 1} and counters["flagged"] == {}


def test_what_is_refused_gets_nothing_of_the_answer_and_is_not_told_why(ask):
    reply, line, counters = ask(REFUSES, "0.01")
    assert (reply.status, reply.json()) == (400, {"error": REFUSAL, "code": "content_filter"})
    assert "outlier" not in f"{reply.headers}" and line["outlier"] == 0.01
    assert counters["guarded"] == {"outlier": 1}


def test_a_large_answer_is_refused_before_its_end(ask):
    body = b'{"model_name": "' + b"x" * 3_000_000 + b'"}'
    reply, _, _ = ask(REFUSES, "0.001", body=body)
    assert (reply.status, reply.json()) == (400, {"error": REFUSAL, "code": "content_filter"})


def test_an_answer_that_does_not_tell_is_refused_only_where_one_may_be(ask):
    assert ask(REFUSES, None)[0].status == 400
    reply, line, counters = ask(FLAGS, None)
    assert reply.status == 200 and "outlier" not in line and counters["outliers"] == {}


def test_an_error_of_the_replica_stays_its_own(ask):
    reply, _, counters = ask(REFUSES, None, body=b'{"error": "a text is empty"}', status="400 Bad Request")
    assert (reply.status, reply.json()) == (400, {"error": "a text is empty"})
    assert counters["guarded"] == {}


@pytest.mark.parametrize("share", ["2", "0", "-1", "nan", "much"])
def test_what_is_no_share_is_no_answer(ask, share):
    assert ask(FLAGS, share)[0].status == 502


def test_questions_about_the_model_are_not_judged(made, replica):
    gateway = made(OPTIONS)
    gateway.serve(replica(tells(None)), terms=Terms(guardrails=Guardrails(outlier=REFUSES)))
    with Client(gateway.port) as client:
        assert client.ask("GET", f"/v2/models/{MODEL}").status == 200


def test_an_answer_from_the_cache_is_judged_as_the_first_one_was_and_a_refused_one_is_not_kept(ask):
    options = msgspec.structs.replace(OPTIONS, cache=Cache(store="memory"))
    reply, line, counters = ask(FLAGS, "0.004", options, times=2)
    assert reply.status == 200 and reply.headers["x-guideway-cache"] == "hit"
    assert reply.headers["x-guideway-outlier"] == "0.004000" and line["outlier"] == 0.004
    assert counters["outliers"] == {"0.01": 2} and counters["flagged"] == {"": 2}
    reply, _, counters = ask(REFUSES, "0.001", options, times=2)
    assert reply.status == 400 and counters["guarded"] == {"outlier": 2}


def test_where_the_release_has_no_such_rule_the_share_is_not_passed_on(made, replica):
    gateway = made(OPTIONS)
    gateway.serve(replica(tells("0.0001")))
    with Client(gateway.port) as client:
        reply = client.ask(path=INFER, body=ASK)
    assert reply.status == 200 and "x-guideway-outlier" not in reply.headers
