"""When the next companion is started after one that died, and how one follows another."""

from __future__ import annotations

import signal

import pytest

from guideway.gateway.slot import BACKOFF_SECONDS, KILLED_SECONDS, QUICK_SECONDS, Seat


class Companion:
    def __init__(self, started=0.0, ready=True):
        self.started, self.ready, self.deadline = started, ready, float("inf")
        self.told = []

    def leave(self, now):
        self.told.append("leave")
        self.deadline = now + 12.0

    def go(self):
        self.told.append("go")


@pytest.fixture
def seat():
    return Seat("limits")


def pauses(seat, times, status, lived=0.5):
    """How long the seat stays empty after each of so many deaths."""
    found, now = [], 100.0
    for _ in range(times):
        seat.current = Companion(now)
        now += lived
        seat.died(seat.current, now, status)
        found.append(seat.start_at - now)
    return [round(pause, 6) for pause in found]


def test_one_that_ends_by_itself_again_and_again_is_started_ever_more_slowly(seat):
    found = pauses(seat, 20, 1)
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.1, BACKOFF_SECONDS[1])


def test_one_that_is_killed_twenty_times_in_a_row_is_back_at_once_each_time(seat):
    assert set(pauses(seat, 20, -signal.SIGKILL)) == {KILLED_SECONDS}
    assert KILLED_SECONDS < 0.5


def test_one_that_lived_for_a_while_is_started_without_a_pause(seat):
    assert pauses(seat, 3, 1, lived=QUICK_SECONDS) == [0.0, 0.0, 0.0]


def test_a_successor_has_the_place_when_it_is_ready_and_the_one_before_has_left(seat):
    old, new = Companion(), Companion(ready=False)
    seat.take(old)
    seat.renew = True
    assert seat.due(1.0)
    seat.take(new)
    assert not seat.due(1.0)
    seat.settle(2.0)
    assert (old.told, new.told) == ([], [])
    new.ready = True
    seat.settle(3.0)
    seat.settle(4.0)
    assert (old.told, new.told) == (["leave"], [])
    seat.died(old, 5.0, 0)
    seat.settle(5.0)
    assert (new.told, seat.current, seat.companions, seat.renew) == (["go"], new, [new], False)
    assert not seat.due(9.0)


def test_a_successor_that_dies_leaves_the_place_as_it_is_and_is_tried_again(seat):
    old, new = Companion(), Companion(ready=False)
    seat.take(old)
    seat.renew = True
    seat.take(new)
    seat.died(new, 10.0, 1)
    assert (seat.current, seat.successor, old.told) == (old, None, [])
    assert seat.due(11.0)


def test_one_that_dies_while_its_successor_comes_is_followed_by_that_one_alone(seat):
    old, new = Companion(), Companion(ready=False)
    seat.take(old)
    seat.renew = True
    seat.take(new)
    seat.died(old, 10.0, 1)
    assert not seat.due(20.0)
    new.ready = True
    seat.settle(20.0)
    assert (seat.current, new.told) == (new, ["go"])


def test_a_seat_that_is_not_wanted_any_more_is_left_once(seat):
    seat.current, seat.renew = Companion(), True
    seat.empty(1.0)
    seat.empty(2.0)
    assert seat.current.told == ["leave"] and not seat.renew
