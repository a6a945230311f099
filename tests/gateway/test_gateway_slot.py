"""When the next companion is started after one that died."""

from __future__ import annotations

import signal

import pytest

from guideway.gateway.slot import BACKOFF_SECONDS, KILLED_SECONDS, QUICK_SECONDS, Seat


class Companion:
    def __init__(self, started):
        self.started = started


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
