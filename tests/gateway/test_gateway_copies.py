"""Requests that are copied to a candidate in shadow: the client gets what stable says, and the pair is written down."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from gateway_paper import DONE, completion, event, held, http, raw, stream, unary
from gateway_rig import AUTHORIZED, CANDIDATE, MODEL, OPTIONS, STABLE, Client, wait_for
from system_rig import at_once, chat, replicas, system

from guideway.core.guardrails import Guardrails
from guideway.core.spec.gateway import Admission, Cache, Masking
from guideway.core.terms import Terms
from guideway.gateway.copies import BODY_LIMIT
from guideway.gateway.outcomes import Spool
from guideway.gateway.shadow import COPIES
from guideway.store import outcomes

__all__ = ["replicas", "system"]
GARBAGE = raw(b"garbage\r\n\r\n", close=True)
CUT = raw(http(b"x" * 9)[:-4], close=True)
LONG = 300 * 1024


def read(folder):
    return [one for name in outcomes.segments(folder) for one in outcomes.read(folder, name).records]


class Pair:
    """A gateway in front of a stable replica, and a candidate in shadow."""

    def __init__(self, gateway, replica, folder, *, stable=None, candidate=None, weight=1.0, **options):
        self.gateway, self.folder = gateway, folder
        self.stable, self.candidate = replica(stable), replica(candidate)
        gateway.plane.reports.spool = Spool(folder, "w0", clock=time.monotonic)
        gateway.serve(self.stable, candidate=[self.candidate], weight=weight, shadow=True, **options)

    def ask(self, headers=AUTHORIZED, **body):
        with Client(self.gateway.port) as client:
            return client.ask(
                body={"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **body}, headers=headers
            )

    def outcomes(self):
        self.gateway.loop.call(self.gateway.plane.reports.flush)
        return read(self.folder)

    def shadows(self):
        return [one for one in self.outcomes() if one.why_not == "shadow"]

    def shadow(self):
        """The one outcome of a copy."""
        wait_for(self.shadows, what="the outcome of the copy")
        (found,) = self.shadows()
        return found

    def counted(self):
        return dict(self.gateway.plane.reports.metrics.snapshot(0.0).counters["shadows"])


@pytest.fixture
def pair(gateway, replica, tmp_path):
    return lambda **options: Pair(gateway, replica, tmp_path, **options)


def test_the_candidate_gets_the_body_that_stable_got_and_the_client_what_stable_says(pair):
    both = pair(candidate=unary(completion("goodbye")))
    reply = both.ask(temperature=0.5)
    assert (reply.json(), reply.headers["x-guideway-release"]) == (json.loads(completion("hello")), STABLE[7:19])
    copy = both.shadow()
    asked, real = both.candidate.asked[0], both.stable.asked[0]
    assert (asked.first, asked.body, asked.headers["x-request-id"]) == (
        real.first,
        real.body,
        real.headers["x-request-id"],
    )
    assert "authorization" not in asked.headers
    assert (copy.arm, copy.release, copy.why_not) == ("candidate", CANDIDATE[7:19], "shadow")
    assert (copy.status, copy.same, copy.failure, copy.share) == (200, False, "", 1.0)
    assert (copy.input_tokens, copy.output_tokens, copy.latency > 0.0) == (3, 1, True)
    assert both.counted() == {"different": 1}


def test_the_copy_and_the_request_are_a_pair_by_the_id_of_the_request(pair):
    both = pair()
    reply = both.ask()
    copy = both.shadow()
    (original,) = [one for one in both.outcomes() if one.why_not != "shadow"]
    assert copy.request == original.request == reply.headers["x-request-id"]
    assert (original.arm, original.status, original.same, copy.same) == ("stable", 200, None, True)


def test_a_stream_is_copied_when_it_has_ended_and_its_times_are_told(pair):
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    both = pair(stable=stream(event("a"), usage, DONE), candidate=stream(event("b"), event("c"), usage, DONE))
    reply = both.ask(stream=True)
    assert (b'"a"' in reply.body, b'"b"' in reply.body) == (True, False)
    copy = both.shadow()
    assert both.candidate.asked[0].body == both.stable.asked[0].body
    assert (copy.stream, copy.output_tokens, copy.same) == (True, 2, None)
    assert 0.0 < copy.first_token <= copy.latency
    assert copy.per_token == (copy.latency - copy.first_token) / 2


def test_a_slow_candidate_keeps_no_client_waiting_and_more_copies_than_a_few_are_not_sent(pair):
    both = pair(candidate=held(unary()))
    assert {both.ask().status for _ in range(COPIES + 3)} == {200}
    wait_for(lambda: len(both.candidate.asked) == COPIES)
    assert (both.shadows(), both.counted()) == ([], {"not sent": 3})
    both.candidate.release()
    wait_for(lambda: len(both.shadows()) == COPIES)


def test_a_copy_that_takes_too_long_is_cut_by_the_clock(pair):
    both = pair(candidate=held(unary()))
    both.ask()
    wait_for(lambda: both.candidate.asked)
    both.gateway.later(61.0)
    both.gateway.loop.call(both.gateway.plane.tick)
    copy = both.shadow()
    assert (copy.status, copy.failure) == (0, "time-out")
    wait_for(lambda: both.candidate.closed)


@pytest.mark.parametrize("answer", [GARBAGE, CUT, raw(b"", close=True)])
def test_a_candidate_that_talks_garbage_or_breaks_off_is_told_and_no_client_sees_it(pair, answer):
    both = pair(candidate=answer)
    assert [both.ask().json() for _ in range(3)] == [json.loads(completion("hello"))] * 3
    wait_for(lambda: len(both.shadows()) == 3)
    assert {(one.status, one.failure) for one in both.shadows()} == {(0, "broken")}
    assert both.counted() == {"failed": 3}


def test_a_dead_candidate_is_told_once_and_then_left_alone(pair):
    both = pair()
    both.candidate.die()
    assert both.ask().status == 200
    assert (both.shadow().status, both.shadow().failure) == (0, "connect")
    assert both.ask().status == 200
    wait_for(lambda: both.counted() == {"failed": 1, "not sent": 1})


def test_errors_of_the_candidate_are_told_and_cost_no_retry(pair):
    both = pair(candidate=unary(b'{"error":{}}', "503 Service Unavailable"))
    both.ask()
    copy = both.shadow()
    assert (copy.status, copy.failure, len(both.candidate.asked)) == (503, "status", 1)


def test_what_stable_did_not_answer_is_not_copied(pair):
    both = pair(stable=unary(b'{"error":{}}', "400 Bad Request"))
    assert both.ask().status == 400
    both.stable.answer = unary()
    both.ask()
    both.shadow()
    assert len(both.candidate.asked) == 1


def test_only_the_share_is_copied(pair):
    both = pair(weight=0.25)
    for _ in range(80):
        both.ask()
    wait_for(lambda: not both.gateway.plane.copies.shadows.running)
    assert 8 <= len(both.candidate.asked) <= 36
    assert len(both.stable.asked) == 80


def test_a_long_request_is_not_copied(made, replica, tmp_path):
    both = Pair(made(msgspec.structs.replace(OPTIONS, body_megabytes=2)), replica, tmp_path)
    assert both.ask(messages=[{"role": "user", "content": "x" * BODY_LIMIT}]).status == 200
    both.ask()
    both.shadow()
    assert len(both.candidate.asked) == 1


def test_a_long_answer_is_copied_and_not_compared(pair):
    both = pair(stable=unary(completion("x" * LONG)), candidate=unary(completion("x" * LONG)))
    both.ask()
    assert (both.shadow().status, both.shadow().same) == (200, None)


def test_a_copy_is_masked_as_the_original_is(made, replica, tmp_path):
    terms = Terms(guardrails=Guardrails(neutralise=False))
    masked = msgspec.structs.replace(OPTIONS, masking=Masking())
    both = Pair(made(masked), replica, tmp_path, terms=terms)
    both.ask(messages=[{"role": "user", "content": "write to anna@example.org"}])
    both.shadow()
    assert b"anna@example.org" not in both.candidate.asked[0].body
    assert both.candidate.asked[0].body == both.stable.asked[0].body


def test_what_the_cache_knows_is_not_copied_and_no_copy_is_kept(made, replica, tmp_path):
    kept = msgspec.structs.replace(OPTIONS, cache=Cache())
    both = Pair(made(kept), replica, tmp_path, candidate=unary(completion("goodbye")))
    replies = [both.ask(temperature=0) for _ in range(3)]
    assert [one.headers["x-guideway-cache"] for one in replies] == ["miss", "hit", "hit"]
    assert {one.body for one in replies} == {completion("hello")}
    both.shadow()
    assert len(both.candidate.asked) == 1


def test_a_candidate_in_shadow_adds_no_places_for_requests(made, replica, tmp_path):
    narrow = msgspec.structs.replace(OPTIONS, admission=Admission(concurrent=1, queue=8), workers=1)
    both = Pair(made(narrow), replica, tmp_path, stable=held(unary()))
    with Client(both.gateway.port) as one, Client(both.gateway.port) as other:
        one.send(chat())
        wait_for(lambda: both.stable.asked)
        other.send(chat())
        wait_for(lambda: both.gateway.plane.admission.waiting == 1)
        both.stable.release()
        assert {one.reply().status, other.reply().status} == {200}


def test_a_client_that_leaves_while_stable_answers_costs_the_candidate_nothing(pair):
    both = pair(stable=held(unary()))
    with Client(both.gateway.port) as client:
        client.send(chat())
        wait_for(lambda: both.stable.asked)
    wait_for(lambda: both.stable.closed)
    both.stable.release()
    both.ask()
    both.shadow()
    assert len(both.candidate.asked) == 1


def test_without_a_candidate_in_shadow_nobody_listens_along(pair):
    both = pair()
    plane = both.gateway.plane
    assert plane.shadowing is plane.copies
    both.gateway.serve(both.stable, candidate=[both.candidate], weight=0.0, shadow=True)
    assert plane.shadowing is None
    both.gateway.serve(both.stable)
    assert plane.shadowing is None


def test_a_whole_gateway_copies_writes_the_pairs_down_and_counts_them(system, replica):
    stable, candidate = replica(), replica(unary(completion("goodbye")))
    one = system(stable)
    one.routes([stable.port], [candidate.port], weight=1.0, shadow=True)
    wait_for(lambda: at_once(one.port, 4, chat(one.key)) and candidate.asked, what="the workers knowing the route")
    before = len(stable.asked)
    for _ in range(5):
        (reply,) = at_once(one.port, 1, chat(one.key))
        assert reply.json()["choices"][0]["message"]["content"] == "hello"
    assert len(stable.asked) == before + 5

    def pairs():
        found = read(one.folder / "outcomes")
        copied = {each.request for each in found if each.why_not == "shadow" and each.same is False}
        return copied & {each.request for each in found if each.arm == "stable"}

    def asked_again():  # the worker that answered may have learnt of the route later than the other one
        return at_once(one.port, 1, chat(one.key)) and len(pairs()) >= 5

    wait_for(asked_again, what="the pairs being written down")
    wait_for(lambda: one.metric("guideway_gateway_shadows_total", result="different") >= 5, what="the count")
