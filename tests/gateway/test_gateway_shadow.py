"""A candidate in shadow: its answers are compared, and nobody ever notices it."""

from __future__ import annotations

import time

import msgspec
import pytest
from gateway_paper import DONE, completion, event, held, http, raw, stream, unary
from gateway_rig import CANDIDATE, STABLE, route, wait_for

from guideway.core.route import Endpoint
from guideway.gateway.backend import Backend
from guideway.gateway.routing import compile_route
from guideway.gateway.shadow import SECONDS, Shadows, texts

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


class Bench:
    """Copies that go to a real replica, through the pool of a real gateway."""

    def __init__(self, loop, gateway, port, copies=8):
        self.loop, self.skew = loop, 0.0
        self.told = []
        self.backend = Backend(Endpoint("127.0.0.1", port))
        self.shadows = Shadows(gateway.plane.pools, lambda: time.perf_counter() + self.skew, copies=copies)

    def copy(self):
        return self.loop.call(self.shadows.copy, self.backend, REQUEST, self.told.append)

    def compare(self, status=200, body=None, length=None):
        """One copy beside a real answer; what was found."""
        one, before = self.copy(), len(self.told)
        real = len(body or b"") if length is None else length
        self.loop.call(one.real, status, real, body)
        wait_for(lambda: len(self.told) > before)
        return self.told[-1]

    def idle(self):
        return not self.shadows.running and self.backend.outstanding == 0


@pytest.fixture
def shadow(loop, gateway, replica):
    def make(answer=None, copies=8):
        one = replica(answer)
        return Bench(loop, gateway, one.port, copies), one

    yield make


def test_the_same_text_is_the_same_answer_whatever_its_ids(shadow):
    bench, _ = shadow(unary(completion("hello").replace(b'"c1"', b'"c2"')))
    found = bench.compare(body=completion("hello"))
    assert (found.status, found.real_status, found.same) == (200, 200, True)
    assert found.length == found.real_length == len(completion("hello"))
    assert bench.idle()


def test_another_text_another_length_and_another_status_are_told(shadow):
    bench, one = shadow(unary(completion("goodbye")))
    found = bench.compare(body=completion("hello"))
    assert (found.same, found.length - found.real_length) == (False, 2)
    one.answer = unary(b"{}", "500 Internal Server Error")
    assert bench.compare(body=completion("hello")).status == 500
    assert bench.compare(body=completion("hello")).same is None


def test_an_answer_in_events_is_counted_and_not_compared(shadow):
    bench, _ = shadow(stream(event("a"), DONE))
    found = bench.compare(length=5)
    assert (found.same, found.length, found.real_length) == (None, len(event("a") + DONE), 5)


@pytest.mark.parametrize(
    "answer", [raw(b"", close=True), raw(b"garbage\r\n\r\n"), raw(http(b"x" * 9)[:-4], close=True)]
)
def test_a_shadow_that_breaks_is_told_with_no_status_and_never_tried_again(shadow, answer):
    bench, one = shadow(answer)
    assert bench.compare(body=completion()).status == 0
    assert (len(one.asked), bench.idle()) == (1, True)


def test_a_shadow_that_cannot_be_reached_is_told_with_no_status(shadow):
    bench, one = shadow()
    one.die()
    assert bench.compare(body=completion()).status == 0
    assert bench.idle()


def test_either_answer_may_come_first(shadow):
    bench, one = shadow(held(unary()))
    early = bench.copy()
    bench.loop.call(early.real, 200, 3, completion("hello"))
    assert bench.told == []
    one.release()
    wait_for(lambda: bench.told)
    late = bench.copy()
    wait_for(bench.idle)
    bench.loop.call(late.real, 200, 3, completion("hello"))
    assert [found.same for found in bench.told] == [True, True]


def test_more_copies_than_allowed_are_not_sent(shadow):
    bench, one = shadow(held(unary()), copies=2)
    assert [bench.copy() is None for _ in range(4)] == [False, False, True, True]
    assert bench.shadows.skipped == 2
    one.release()
    wait_for(bench.idle)
    assert len(one.asked) == 2


def test_a_candidate_that_was_ejected_gets_no_copies(shadow):
    bench, one = shadow()
    bench.backend.ejected_until = time.perf_counter() + 60
    assert bench.copy() is None
    assert one.connections == 0


def test_a_copy_that_takes_too_long_is_cut_and_told_with_no_status(shadow):
    bench, one = shadow(held(unary()))
    copy = bench.copy()
    bench.loop.call(copy.real, 200, 3, completion())
    wait_for(lambda: one.asked)
    bench.skew = SECONDS + 1
    bench.loop.call(bench.shadows.look)
    wait_for(lambda: one.closed)
    assert bench.idle()
    assert bench.told[0].status == 0


def test_when_the_client_leaves_the_copy_is_cut_and_nothing_is_told(shadow):
    bench, one = shadow(held(unary()))
    copy = bench.copy()
    wait_for(lambda: one.asked)
    bench.loop.call(copy.cut)
    bench.loop.call(copy.real, 200, 3, completion())
    wait_for(lambda: one.closed)
    assert (bench.told, bench.idle()) == ([], True)


def test_a_copy_that_is_cut_before_it_is_connected_sends_nothing(shadow):
    bench, one = shadow()

    def at_once():
        bench.shadows.copy(bench.backend, REQUEST, bench.told.append).cut()

    bench.loop.call(at_once)
    wait_for(lambda: one.connections == 1)
    assert bench.idle()
    assert bench.compare(body=completion("hello")).same
    assert len(one.asked) == 1


def test_tool_calls_are_compared_without_their_ids():
    def called(id, city):
        call = {"id": id, "type": "function", "function": {"name": "weather", "arguments": city}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        return msgspec.json.encode({"choices": [{"message": message, "finish_reason": "tool_calls"}]})

    assert texts(called("a", "Rome")) == texts(called("b", "Rome")) != texts(called("a", "Oslo"))


@pytest.mark.parametrize("body", [b"", b"garbage", b"[]", b'{"choices":7}', b"[" * 100_000])
def test_what_is_no_answer_says_nothing(body):
    assert texts(body) is None


def test_in_shadow_every_request_is_stables_and_the_weight_is_the_share_of_copies():
    both = msgspec.structs.replace(route([1], [2], weight=0.4), rollout="r1")
    shown, shadowed = (compile_route(msgspec.structs.replace(both, shadow=on), Backend) for on in (False, True))
    assert (shown.weight, shown.shadowed) == (0.4, 0.0)
    assert (shadowed.weight, shadowed.shadowed) == (0.0, 0.4)
    assignment, arm = shadowed.assign(key="", uniform=0.0)
    assert (arm.release, assignment.unit) == (STABLE[7:19], False)
    assignment, arm = shown.assign(key="", uniform=0.0)
    assert (arm.release, assignment.unit, assignment.share) == (CANDIDATE[7:19], True, 0.4)
