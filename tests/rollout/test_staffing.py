"""Erlang's formula, against tables and against a queue that is simulated."""

from __future__ import annotations

import random

import pytest
from tests.rollout.autoscale_rig import Job, Replay, Service

from guideway.rollout.staffing import late_share, replicas_for


@pytest.mark.parametrize(
    ("load", "places", "waits"),
    [(1.0, 2, 1 / 3), (2.0, 3, 4 / 9), (0.5, 1, 0.5), (10.0, 12, 0.4494), (50.0, 60, 0.1195)],
)
def test_the_share_that_waits_at_all_is_what_the_tables_say(load, places, waits):
    assert late_share(load, places, 0.0, 1.0) == pytest.approx(waits, abs=5e-3)


@pytest.mark.parametrize("places", [1, 7, 800])
def test_a_load_of_all_places_makes_everybody_wait(places):
    assert late_share(float(places), places, 5.0, 1.0) == 1.0


def test_without_a_known_service_time_any_wait_is_too_long():
    assert late_share(6.0, 8, 3.0, None) == late_share(6.0, 8, 0.0, 1.0) > late_share(6.0, 8, 3.0, 1.0)


def test_a_simulated_queue_waits_as_long_as_the_formula_says():
    chance = random.Random(5)
    at, jobs = 0.0, []
    for _ in range(60_000):
        at += chance.expovariate(6.0)
        jobs.append(Job(at, chance.expovariate(0.5)))
    done = Replay(jobs, Service(places=7), lambda reading: 2, 2, tick=1e9).run()
    late = 1 - done.within(1.0)
    assert late == pytest.approx(late_share(12.0, 14, 1.0, 2.0), rel=0.15)


@pytest.mark.parametrize("places", [1, 3, 8, 64])
@pytest.mark.parametrize("load", [0.1, 1.0, 7.9, 8.0, 40.0, 333.0])
def test_the_fewest_replicas_are_enough_and_one_less_is_not(load, places):
    found = replicas_for(load, places, within=1.0, late=0.01, service=8.0, most=1000)
    assert late_share(load, found * places, 1.0, 8.0) <= 0.01
    assert found == 1 or late_share(load, (found - 1) * places, 1.0, 8.0) > 0.01


def test_no_load_needs_nothing_and_nothing_needs_more_than_there_may_be():
    assert replicas_for(0.0, 8, within=1.0, late=0.01, service=1.0, most=5) == 0
    assert replicas_for(500.0, 8, within=1.0, late=0.01, service=1.0, most=5) == 5
