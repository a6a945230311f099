"""Whole hours of traffic, simulated: is the objective kept, and at what price?"""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import pytest
from tests.rollout.autoscale_rig import Job, Order, Replay, Service, ours, planned, read_trace

from guideway.rollout.autoscale import Rules

QUICK = Service(places=4, cold_start=30.0)


def traffic(rate, seconds, seed=1, mean=4.0):
    """Requests that come with *rate* (of the time) a second and take *mean* seconds, exponentially."""
    chance, at, jobs = random.Random(seed), 0.0, []
    while at < seconds:
        at += chance.expovariate(max(rate(at), 1e-3))
        jobs.append(Job(at, chance.expovariate(1 / mean)))
    return jobs


def wave(at):
    """A day in two hours: between a third of a request a second and three."""
    return 1.7 - 1.35 * math.cos(2 * math.pi * at / 7200)


def changes_of(outcome):
    return len(outcome.orders) - 1


@pytest.mark.catalogue("A46")
@pytest.mark.parametrize("seed", range(4))
def test_a_day_that_rises_and_falls_is_served_in_time_with_few_changes_and_less_than_the_peak_would_take(seed):
    jobs = traffic(wave, 7200, seed)
    done = Replay(jobs, QUICK, ours(Rules(max=20, places=4, changes=10), first=2), 2).run()
    peak = Replay(jobs, QUICK, lambda reading: 5, 5).run()
    assert done.within(1.0) >= 0.99
    assert changes_of(done) <= 20
    assert done.capacity < peak.capacity * 0.9 and peak.within(1.0) >= 0.99


@pytest.mark.catalogue("A46")
def test_a_load_three_times_as_high_is_caught_up_with_soon_after_a_cold_start():
    jobs = traffic(lambda at: 0.5 if at < 1800 else 3.0, 3600)
    done = Replay(jobs, QUICK, ours(Rules(max=20, places=4), first=1), 1).run()
    late = [job.at for job, wait in zip(jobs, done.waits, strict=True) if wait > 1.0 and job.at > 1800]
    assert late and max(late) < 1800 + 4 * QUICK.cold_start
    assert changes_of(done) <= 7


def test_an_idle_service_sleeps_and_who_wakes_it_waits_for_one_start_and_no_longer():
    jobs = [Job(60.0, 2.0), Job(2400.0, 2.0), Job(2401.0, 2.0), Job(5000.0, 2.0)]
    done = Replay(jobs, QUICK, ours(Rules(min=0, max=5, places=4), first=1), 1).run()
    assert [order.replicas for order in done.orders] == [1, 0, 1, 0, 1]
    assert done.waits[0] == 0.0
    assert all(QUICK.cold_start - 1.0 <= wait <= QUICK.cold_start + 5.0 for wait in done.waits[1:])


def test_a_service_whose_start_is_too_slow_to_wait_for_never_sleeps():
    jobs = [Job(60.0, 2.0), Job(5000.0, 2.0)]
    done = Replay(jobs, Service(cold_start=90.0), ours(Rules(min=0, max=5, places=8), first=1), 1).run()
    assert done.waits == [0.0, 0.0] and changes_of(done) == 0


@pytest.mark.data
@pytest.mark.catalogue("A46")
def test_the_conversation_trace_is_served_in_time_with_six_changes_and_little_more_than_a_fixed_number_needs():
    folder = Path(os.environ["GUIDEWAY_TEST_DATA"]) / "azure-llm-trace-2023"
    jobs = read_trace(folder / "AzureLLMInferenceTrace_conv.csv", Service())
    enough = next(
        n for n in range(1, 20) if Replay(jobs, Service(), planned([Order(0.0, n)]), n).run().within(1.0) > 0.99
    )
    done = Replay(jobs, Service(), ours(Rules(max=64, places=8), first=enough), enough).run()
    assert done.within(1.0) >= 0.99
    assert changes_of(done) <= 6
    assert done.capacity <= 1.1 * enough * jobs[-1].at


# The simulation itself.


def test_a_request_waits_for_a_place_and_a_replica_costs_from_its_order_until_it_is_gone():
    service = Service(places=1, cold_start=10.0)
    jobs = [Job(0.0, 8.0), Job(1.0, 4.0), Job(2.0, 30.0), Job(50.0, 1.0)]
    done = Replay(jobs, service, planned([Order(0.0, 1), Order(5.0, 2), Order(20.0, 1)]), 1).run()
    assert done.waits == [0.0, 7.0, 10.0, 0.0]
    assert done.orders == [Order(0.0, 1), Order(5.0, 2), Order(20.0, 1)]
    assert done.capacity == 20.0 + 45.0


def test_requests_that_never_get_a_place_are_late():
    done = Replay([Job(0.0, 1.0)], Service(), lambda reading: 0, 0).run()
    assert done.within(1e9) == 0.0


def test_the_columns_of_a_trace_become_times_from_its_first_request(tmp_path):
    file = tmp_path / "trace.csv"
    rows = ["2023-11-16 18:15:46.6805900,400,50", "2023-11-16 18:15:48.1805900,0,10"]
    file.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    first, second = read_trace(file, Service(token_in=0.001, token_out=0.1))
    assert (first.at, second.at) == (0.0, pytest.approx(1.5))
    assert (first.takes, second.takes) == (pytest.approx(5.4), pytest.approx(1.0))
