"""Admission: what does not fit waits, in turns, and what cannot wait is told so at once."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.spec.gateway import Admission as Asked
from guideway.gateway.admission import Admission, limit_of, overloaded
from guideway.gateway.errors import ApiError


class Call:
    def __init__(self, owner="ann", log=None, name=""):
        self.owner, self.name, self.log = owner, name, log if log is not None else []
        self.error: ApiError | None = None
        self.runs = False

    def admitted(self) -> None:
        assert not self.runs and self.error is None
        self.runs = True
        self.log.append(self.name)

    def refused(self, error) -> None:
        assert not self.runs and self.error is None
        self.error = error


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def gate(limit=1, queue=4, wait=5.0, clock=None):
    return Admission(limit, queue, wait, clock or Clock())


def test_what_fits_runs_at_once_and_what_does_not_runs_when_another_is_over():
    one, second = gate(), Call()
    assert one.enter(Call()) is True and one.enter(second) is False
    one.leave()
    assert second.runs and (one.running, one.waiting) == (1, 0)


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again():
    one = gate(queue=1, wait=4.2)
    one.enter(Call())
    one.enter(Call())
    error = one.enter(Call())
    assert (error.status, error.code, error.lines) == (429, "overloaded", b"Retry-After: 5\r\n")


@pytest.mark.parametrize("freed", [Admission.leave, lambda one: one.cancel(one.waits), lambda one: one.resize(3)])
def test_it_is_crowded_from_a_refusal_until_a_place_becomes_free(freed):
    one = gate(queue=1)
    one.waits = Call()
    assert (one.enter(Call()), one.enter(one.waits), one.crowded) == (True, False, False)
    assert isinstance(one.enter(Call()), ApiError)
    assert one.crowded
    freed(one)
    assert not one.crowded


def test_without_a_queue_nobody_waits():
    one = gate(queue=0)
    assert one.enter(Call()) is True and isinstance(one.enter(Call("ben")), ApiError)


def test_calls_of_one_tenant_stay_in_order_and_tenants_take_turns():
    one, log = gate(queue=9), []
    one.enter(Call())
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        one.enter(Call(name[0], log, name))
    for _ in range(6):
        one.leave()
    assert log == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_batches_run_only_when_nobody_else_waits():
    one, log = gate(), []
    one.enter(Call())
    one.enter(Call(log=log, name="batch"), "batch")
    one.enter(Call(log=log, name="live"))
    one.leave()
    one.leave()
    assert log == ["live", "batch"]


def test_a_batch_makes_room_in_a_full_queue_and_takes_no_place_of_others():
    one, batch = gate(queue=1), Call()
    one.enter(Call())
    one.enter(batch, "batch")
    assert one.enter(Call()) is False and batch.error.code == "overloaded"
    assert isinstance(one.enter(Call(), "batch"), ApiError)


def test_a_tenant_that_floods_the_queue_makes_room_for_others_up_to_an_equal_share():
    one = gate(queue=4)
    one.enter(Call())
    flood = [Call("flood") for _ in range(4)]
    assert [one.enter(call) for call in flood] == [False] * 4
    assert isinstance(one.enter(Call("flood")), ApiError)
    assert one.enter(Call("ben")) is False and one.enter(Call("ben")) is False
    assert [call.error is None for call in flood] == [True, True, False, False]
    assert isinstance(one.enter(Call("ben")), ApiError)
    assert one.enter(Call("cid")) is False and one.waiting == 4


def test_who_waits_too_long_is_refused():
    clock = Clock()
    one, early, late = gate(clock=clock), Call(), Call()
    one.enter(Call())
    one.enter(early)
    clock.now = 3.0
    one.enter(late)
    one.expire(4.9)
    assert early.error is None
    one.expire(5.0)
    assert early.error.code == "overloaded" and late.error is None and one.waiting == 1


def test_a_client_that_left_is_forgotten_and_forgetting_it_twice_does_nothing():
    one, gone, next_one = gate(), Call(), Call()
    one.enter(Call())
    one.enter(gone)
    one.enter(next_one)
    one.cancel(gone)
    one.cancel(gone)
    one.leave()
    assert next_one.runs and not gone.runs


def test_more_replicas_let_those_who_wait_run_and_fewer_stop_nobody():
    one, calls = gate(limit=1), [Call() for _ in range(4)]
    for call in calls:
        one.enter(call)
    one.resize(3)
    assert [call.runs for call in calls] == [False, True, True, False] and one.running == 3
    one.resize(1)
    one.leave()
    one.leave()
    assert not calls[3].runs
    one.leave()
    assert calls[3].runs


@pytest.mark.parametrize(("replicas", "workers", "limit"), [(1, 1, 64), (3, 2, 96), (1, 100, 1), (0, 1, 1)])
def test_the_limit_of_a_worker_is_its_part_of_what_the_replicas_take(replicas, workers, limit):
    assert limit_of(Asked(), replicas, workers) == limit


def test_a_wait_of_nothing_still_says_a_second():
    assert overloaded(0.0).lines == b"Retry-After: 1\r\n"


@given(st.integers(0, 1 << 30))
def test_nobody_is_lost_and_nobody_runs_too_many(seed):
    dice, clock = random.Random(seed), Clock()
    one, waiting, running, limit = gate(limit=2, queue=5, clock=clock), [], 0, 2
    for _ in range(200):
        what = dice.random()
        if what < 0.5:
            call = Call(dice.choice("abc"))
            answer = one.enter(call, dice.choice(["live", "live", "batch"]))
            if answer is True:
                running += 1
            elif answer is False:
                waiting.append(call)
        elif what < 0.75 and running:
            running -= 1
            one.leave()
        elif what < 0.85 and waiting:
            one.cancel(waiting.pop(dice.randrange(len(waiting))))
        elif what < 0.9:
            limit = dice.randrange(1, 5)
            one.resize(limit)
        else:
            clock.now += dice.random() * 4
            one.expire(clock.now)
        running += sum(call.runs for call in waiting)
        waiting = [call for call in waiting if not call.runs and call.error is None]
        assert one.running == running and one.waiting == len(waiting) <= 5
        assert not waiting or running >= limit


@pytest.mark.catalogue("A26")
@pytest.mark.parametrize("overload", [1.5, 3.0, 10.0])
def test_under_overload_the_goodput_stays_at_the_peak_and_the_rest_is_refused(overload):
    """A replica that slows down with every request beyond its batch; good is what ends within the client's patience."""
    peak, _ = _goodput(rate=0.95)
    good, outcomes = _goodput(rate=overload)
    assert good >= 0.9 * peak
    assert outcomes["late"] == 0 and outcomes["refused"] > 0


def _goodput(rate, seconds=200.0, concurrent=8, service=1.0, patience=10.0):
    """Requests a second that end in time, with *rate* times the load that the replica can take, on a virtual clock."""
    dice, clock = random.Random(5), Clock()
    one = Admission(concurrent, 32, 5.0, clock)
    ends: list[tuple[float, int]] = []
    began: dict[int, float] = {}
    outcomes = {"good": 0, "late": 0, "refused": 0}

    class Arrival(Call):
        def admitted(self) -> None:
            busy = max(1.0, (len(ends) + 1) / concurrent)
            heapq.heappush(ends, (clock.now + service * busy * dice.uniform(0.8, 1.2), self.name))

        def refused(self, error) -> None:
            outcomes["refused"] += 1

    arrival, number = 0.0, 0
    while arrival < seconds:
        number += 1
        arrival += dice.expovariate(rate * concurrent / service)
        while ends and ends[0][0] <= arrival:
            clock.now, name = heapq.heappop(ends)
            outcomes["good" if clock.now - began[name] <= patience else "late"] += 1
            one.leave()
        clock.now = arrival
        one.expire(clock.now)
        call = Arrival(f"t{number % 3}", name=number)
        began[number] = clock.now
        answer = one.enter(call)
        if answer is True:
            call.admitted()
        elif answer is not False:
            call.refused(answer)
    return outcomes["good"] / seconds, outcomes
