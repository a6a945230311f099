"""What size of replica the measurements speak for."""

from __future__ import annotations

import pytest

from guideway.rollout.vertical import Host, Measurement, Needs, Size, recommend

HOST = Host(cores=8, memory_bytes=16e9)
NEEDS = Needs(p95=1.0)
NOW = Size(2, 8)


def measured(threads, speed, p95=0.5, *, batch=8, memory=1e9, n=1000, at=0.0, cores=0.1):
    return Measurement(
        size=Size(threads, batch), n=n, requests_per_second=speed, p95=p95, memory_bytes=memory, cores=cores, at=at
    )


def advised(*found, current=NOW):
    return recommend(0.0, current, found, HOST, NEEDS)


CASES = {
    "many small ones serve more": ([measured(1, 10), measured(4, 25)], (1, 8, 80.0)),
    "the small ones are too slow": ([measured(1, 10, p95=1.5), measured(4, 25)], (4, 2, 50.0)),
    "the small ones do not fit into the memory": ([measured(1, 10, memory=5e9), measured(4, 25)], (4, 2, 50.0)),
    "a replica uses more cores than it has threads": ([measured(1, 10, cores=3.9), measured(4, 25)], (4, 2, 50.0)),
    "one is too large for the host": ([measured(16, 900), measured(4, 25)], (4, 2, 50.0)),
    "the worst of several p95 counts": ([measured(1, 10), measured(1, 10, p95=2), measured(4, 25)], (4, 2, 50.0)),
    "the mean of several speeds counts": ([measured(1, 5), measured(1, 7), measured(4, 10)], (1, 8, 48.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_size_is_the_one_with_which_the_host_serves_most_in_time(case):
    found, (threads, replicas, speed) = CASES[case]
    advice = advised(*found)
    assert (advice.threads, advice.replicas, advice.requests_per_second) == (threads, replicas, speed)
    assert advice.reasons


def test_what_may_be_noise_changes_nothing():
    assert advised(measured(2, 20), measured(4, 41)).threads == 2
    assert advised(measured(2, 20), measured(4, 44)).threads == 4
    assert advised(measured(2, 20), measured(4, 44), measured(4, 52), measured(4, 36)).threads == 2


def test_equal_sizes_give_the_smallest_when_none_is_there_now():
    assert advised(measured(4, 40), measured(2, 20), current=Size(3, 8)).threads == 2


def test_the_batch_is_told_too_where_several_were_measured():
    advice = advised(measured(2, 20, batch=8), measured(2, 35, batch=16))
    assert (advice.batch, advice.threads) == (16, None)
    assert any("threads UNKNOWN" in reason for reason in advice.reasons)


def test_memory_is_the_most_that_was_seen_and_a_fifth():
    assert advised(measured(1, 10, memory=1e9), measured(1, 10, memory=2e9)).memory_bytes == pytest.approx(2.4e9)


@pytest.mark.parametrize(
    "useless",
    [measured(1, 10, n=10), measured(1, 10, at=-1e8), measured(1, 10, at=5.0), measured(1, float("nan")),
     measured(1, 10, memory=0.0), measured(1, 10, p95=3.0)],
)  # fmt: skip
def test_without_a_measurement_that_counts_everything_is_unknown(useless):
    for found in ((), (useless,)):
        advice = advised(*found)
        assert (advice.threads, advice.batch, advice.memory_bytes, advice.replicas) == (None,) * 4
        assert "UNKNOWN" in advice.reasons[-1]


def test_a_size_that_was_refused_is_named_with_its_reason():
    reasons = advised(measured(1, 10, p95=1.5), measured(16, 9), measured(4, 25)).reasons
    assert "1 threads, batch 8: p95 1.50 s is more than 1.00 s" in reasons
    assert "16 threads, batch 8: does not fit on the host" in reasons
