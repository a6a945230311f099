"""What a gateway tells of its load, as a reading for the scaling."""

from __future__ import annotations

import pytest

from guideway.core.load import WAITS, Load
from guideway.rollout.autoscale import Rules, State, decide
from guideway.rollout.load import reading_of, waited


def waits(**counts):
    """Counts by bucket: ``b3=2`` is two in the fourth."""
    return tuple(counts.get(f"b{number}", 0) for number in range(len(WAITS) + 1))


def test_live_and_batch_stay_apart():
    told = Load(workers=2, running=5, waiting=1, finished=90, batch_running=3, batch_waiting=7, batch_finished=10)
    found = reading_of(told, 50.0, ready=2, cold_start=12.0)
    assert (found.at, found.in_flight, found.queued, found.finished) == (50.0, 5.0, 1.0, 90.0)
    assert (found.batch_in_flight, found.batch_queued, found.ready, found.cold_start) == (3.0, 7.0, 2, 12.0)
    assert reading_of(told, 50.0, ready=2, batch=True).finished == 100.0


def test_without_a_worker_the_load_is_unknown_and_nothing_is_decided():
    found = reading_of(Load(finished=7), 50.0, ready=2)
    assert found.in_flight is None
    decision = decide(State(wanted=2), found, Rules(max=4, places=8))
    assert (decision.rule, decision.wanted) == ("unknown", 2)


@pytest.mark.parametrize(
    ("counts", "seconds"),
    [
        (waits(), None),
        (waits(b0=10), 0.0),
        (waits(b0=95, b9=5), 0.0),
        (waits(b0=90, b9=10), 1.0 + 1.5 * 0.5),
        (waits(b8=100), 0.5 + 0.5 * 0.95),
        (waits(b14=3), 60.0),
    ],
)
def test_how_long_they_waited(counts, seconds):
    found = waited(counts)
    assert found == (seconds if seconds is None else pytest.approx(seconds))
