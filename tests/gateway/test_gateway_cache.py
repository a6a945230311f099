"""The cache as a worker uses it, and the wall between tenants."""

from __future__ import annotations

import json
import os
import random
import sys

import pytest
from gateway_paper import DONE, completion, event
from gateway_rig import wait_for
from gateway_stores import Store

from guideway.core.errors import SpecError
from guideway.core.route import Terms
from guideway.core.spec.gateway import Cache as Options
from guideway.gateway.cache.cache import Cache
from guideway.gateway.cache.plan import Call, Plan
from guideway.gateway.cache.stored import Stored

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
JSON = b"application/json"


class Worker:
    """A cache with clocks that the test moves."""

    def __init__(self, *, plain: bool = False, **options) -> None:
        self.now, self.today, self.plain = 100.0, 1_700_000_000.0, plain
        self.cache = Cache(
            Options(**options),
            secret=bytes(32),
            clock=lambda: self.now,
            wall=lambda: self.today,
            uniform=random.Random(1).random,
            random_bytes=os.urandom,
        )

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.today += seconds

    def plan(self, prompt: str = "hi", tenant: str = "a", release: str = OLD, control: bytes = b"", **more) -> Plan:
        body = json.dumps({"messages": [{"role": "user", "content": prompt}], **more}).encode()
        found = self.cache.plan(Call(tenant, b"/v1/chat/completions", body, release, Terms(), b"", control, self.plain))
        assert found is not None
        return found

    def answer(self, plan: Plan, body: bytes | None = None, seat=None, status=200, content_type=JSON) -> bool:
        body = completion() if body is None else body
        return self.cache.answered(plan, seat, status=status, content_type=content_type, body=body, usage=(3, 1))


class Guest:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def landed(self, stored: Stored) -> None:
        self.heard.append(stored)

    def lead(self) -> None:
        self.heard.append("lead")


@pytest.fixture(params=[False, True], ids=["read", "plain"])
def worker(request):
    """Once looking at every parameter, and once on the short way of a body that names nothing unusual."""
    return Worker(plain=request.param)


def test_the_second_time_the_answer_is_there_byte_for_byte_with_its_usage(worker):
    plan = worker.plan()
    assert worker.cache.get(plan) is None
    assert worker.answer(plan)
    stored = worker.cache.get(worker.plan())
    assert stored is not None
    assert (stored.status, stored.content_type, stored.body, stored.usage) == (200, JSON, completion(), (3, 1))
    counts = worker.cache.counts
    assert (counts.lookups, counts.hits, counts.misses, counts.kept) == (2, 1, 1, 1)


def test_a_stream_is_kept_with_all_its_events_and_apart_from_the_answer_in_one_piece(worker):
    events = event("a") + event("b") + DONE
    assert worker.answer(worker.plan(stream=True), events, content_type=b"text/event-stream")
    stored = worker.cache.get(worker.plan(stream=True))
    assert stored is not None
    assert stored.body == events
    assert worker.cache.get(worker.plan()) is None


def test_an_answer_is_forgotten_when_its_time_is_over(worker):
    worker.answer(worker.plan())
    worker.later(3599.0)
    assert worker.cache.get(worker.plan())
    worker.later(1.0)
    assert worker.cache.get(worker.plan()) is None


def test_a_client_gets_nothing_older_than_it_allows(worker):
    worker.answer(worker.plan())
    worker.later(30.0)
    assert worker.cache.get(worker.plan(control=b"max-age=29")) is None
    assert worker.cache.get(worker.plan(control=b"max-age=31"))


def test_no_cache_asks_anew_alone_and_what_it_gets_is_kept(worker):
    worker.answer(worker.plan())
    plan = worker.plan(control=b"no-cache")
    assert worker.cache.get(plan) is None
    assert worker.cache.join(plan, Guest()) is None
    assert worker.answer(plan, completion("new"))
    assert worker.cache.get(worker.plan()).body == completion("new")


def test_no_store_leaves_no_trace(worker):
    plan = worker.plan(control=b"no-store")
    assert not worker.answer(plan)
    assert worker.cache.get(worker.plan()) is None
    assert worker.cache.join(plan, Guest()) is None
    assert worker.cache.counts.bypassed == 1


@pytest.mark.parametrize(("status", "body"), [(500, None), (400, None), (200, b'{"error":{}, "a'), (200, b"<html>")])
def test_what_failed_is_not_kept_and_the_next_in_line_asks(worker, status, body):
    plan, waiting = worker.plan(), Guest()
    leader = worker.cache.join(plan, Guest())
    worker.cache.join(plan, waiting)
    assert not worker.answer(plan, body, leader, status)
    assert waiting.heard == ["lead"]
    assert worker.cache.get(plan) is None


def test_those_who_wait_get_the_answer_and_are_counted_as_shared(worker):
    plan, guests = worker.plan(), [Guest() for _ in range(4)]
    for _ in guests:
        assert worker.cache.get(plan) is None
    leader, *_ = [worker.cache.join(plan, guest) for guest in guests]
    assert worker.answer(plan, seat=leader)
    assert [len(guest.heard) for guest in guests] == [0, 1, 1, 1]
    assert (worker.cache.counts.shared, worker.cache.counts.misses) == (3, 1)


def test_with_the_cache_off_nothing_is_kept_but_requests_are_still_told_apart():
    worker = Worker(store="off")
    plan = worker.plan()
    assert not worker.answer(plan)
    assert worker.cache.get(plan) is None
    assert plan.unit == worker.plan().unit != worker.plan("ho").unit


def test_a_store_that_is_none_is_an_error_at_the_start():
    with pytest.raises(SpecError, match="kind"):
        Worker(store="mongodb://x")


@pytest.mark.catalogue("B36")
def test_a_new_release_begins_with_nothing_and_after_a_rollback_its_answers_are_out_of_reach(worker):
    worker.answer(worker.plan(release=OLD), completion("old"))
    assert worker.cache.get(worker.plan(release=NEW)) is None
    worker.answer(worker.plan(release=NEW), completion("new"))
    assert worker.cache.get(worker.plan(release=OLD)).body == completion("old")
    assert worker.plan(release=NEW).unit == worker.plan(release=OLD).unit


@pytest.mark.catalogue("B36")
def test_a_request_of_the_new_release_does_not_wait_for_one_of_the_old(worker):
    assert worker.cache.join(worker.plan(release=OLD), Guest()).leads
    assert worker.cache.join(worker.plan(release=NEW), Guest()).leads


@pytest.mark.catalogue("B35")
def test_two_tenants_share_neither_answers_nor_flights(worker):
    worker.answer(worker.plan(tenant="a"))
    assert worker.cache.get(worker.plan(tenant="b")) is None
    assert worker.cache.join(worker.plan("x", tenant="a"), Guest()).leads
    assert worker.cache.join(worker.plan("x", tenant="b"), Guest()).leads


def ask(worker: Worker, prompt: str, tenant: str) -> Stored | None:
    """What a worker does with the cache for one request that the model answers, as far as its caller can feel it."""
    plan = worker.plan(prompt, tenant)
    stored = worker.cache.get(plan)
    if stored is None:
        seat = worker.cache.join(plan, Guest())
        assert seat is not None
        seat.leave()
    return stored


def steps(worker: Worker, prompt: str, tenant: str) -> tuple[Stored | None, list[tuple[str, int]]]:
    """The lines of the cache's code that run for one request, in order."""
    ran: list[tuple[str, int]] = []

    def trace(frame, what, _):
        file = frame.f_code.co_filename
        if "/gateway/cache/" not in file:
            return None
        if what == "line":
            ran.append((file, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        stored = ask(worker, prompt, tenant)
    finally:
        sys.settrace(before)
    return stored, ran


@pytest.mark.catalogue("B35")
def test_what_another_tenant_asked_takes_exactly_the_steps_of_what_nobody_asked(worker):
    """1,000 interleaved pairs. A timing test would be luck; the same lines in the same order leave no time to tell."""
    for number in range(1000):
        worker.answer(worker.plan(f"known {number:04}", "a"))
    steps(worker, "warm", "b")
    for number in range(1000):
        theirs, known = steps(worker, f"known {number:04}", "b")
        nobodys, fresh = steps(worker, f"fresh {number:04}", "b")
        assert theirs is nobodys is None
        assert known == fresh
        assert len(known) > 20
    mine, hit = steps(worker, "known 0999", "a")
    assert mine is not None
    assert hit != fresh, "the trace does see a hit"


# With a shared store.


@pytest.fixture(params=["redis", "memcached"])
def store(request, tmp_path):
    made = Store(request.param, tmp_path)
    yield made
    made.kill()


@pytest.fixture
def pair(loop, store):
    """Two workers on one store."""
    made = [Worker(store=store.url) for _ in range(2)]
    for one in made:
        one.cache._remote._looks._deadline = one.cache._remote._deadline = 5.0  # this machine may be busy
        loop.call(one.cache.start)
        wait_for(lambda one=one: one.cache._remote.ready, what="the store")
    yield made
    for one in made:
        loop.call(one.cache.close)


def share(loop, worker: Worker, plan: Plan) -> None:
    """Answer, and wait until the store has it."""
    assert loop.call(worker.answer, plan)
    wait_for(lambda: worker.cache.counts.written == 1, what="the write")


def fetch(loop, worker: Worker, plan: Plan, seat=None) -> Stored | None:
    heard: list[Stored | None] = []
    assert loop.call(worker.cache.fetch, plan, seat, heard.append) is not None
    wait_for(lambda: heard, what="the store")
    return heard[0]


def test_what_one_worker_keeps_another_fetches_once_and_has_then_in_its_memory(loop, pair):
    one, other = pair
    share(loop, one, one.plan())
    plan, waiting = other.plan(), Guest()
    assert other.cache.get(plan) is None
    seat = other.cache.join(plan, Guest())
    other.cache.join(plan, waiting)
    stored = fetch(loop, other, plan, seat)
    assert stored is not None
    assert stored.body == completion()
    assert waiting.heard == [stored]
    assert other.cache.get(plan) == stored
    assert (other.cache.counts.fetched, other.cache.counts.shared) == (1, 1)


@pytest.mark.catalogue("B35")
def test_the_shared_store_has_the_same_wall_between_tenants(loop, pair):
    one, other = pair
    share(loop, one, one.plan(tenant="a"))
    assert fetch(loop, other, other.plan(tenant="b")) is None
    assert fetch(loop, other, other.plan(tenant="a")) is not None


def test_a_fetched_answer_lives_no_longer_than_it_was_to_live(loop, pair):
    one, other = pair
    share(loop, one, one.plan())
    other.later(3000.0)
    assert fetch(loop, other, other.plan())
    other.later(599.0)
    assert other.cache.get(other.plan())
    other.later(1.0)
    assert other.cache.get(other.plan()) is None
    assert fetch(loop, other, other.plan()) is None, "one that lies there longer than it should is not taken"


def test_a_fetched_answer_is_no_older_than_the_client_allows(loop, pair):
    one, other = pair
    share(loop, one, one.plan())
    other.later(60.0)
    assert fetch(loop, other, other.plan(control=b"max-age=59")) is None


@pytest.mark.catalogue("A23")
def test_when_the_store_dies_requests_go_on_from_memory_and_the_model(loop, pair, store):
    one, _ = pair
    share(loop, one, one.plan())
    store.kill()
    wait_for(lambda: not one.cache._remote.ready, what="the loss to be seen")
    for number in range(1000):
        plan = one.plan(f"{number}")
        assert one.cache.get(plan) is None
        assert loop.call(one.cache.fetch, plan, None, pytest.fail) is None
        assert loop.call(one.answer, plan)
    assert one.cache.get(one.plan()) is not None
    assert (one.cache.counts.dropped, one.cache.counts.kept) == (1000, 1001)
