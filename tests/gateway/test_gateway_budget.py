"""Retries are a share of the requests, whatever goes wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.gateway.budget import FLOOR, MOST, QUIET, RETRIED, RetryBudget


@pytest.mark.catalogue("A16")
@pytest.mark.parametrize("rate", [50, 400, 5000])
def test_at_half_of_all_answers_failed_attempts_are_at_most_1_2_of_the_requests(rate):
    budget, dice = RetryBudget(0.2), random.Random(16)
    requests = 6 * rate
    for number in range(requests):
        budget.request(number / rate)
        if dice.random() < 0.5:
            budget.take()
    assert requests + budget.spent <= 1.2 * requests + 1e-9
    assert budget.spent >= 0.19 * requests, "what is granted is not left unused"
    assert budget.denied > 0


@given(st.floats(0.0, 1.0), st.lists(st.booleans(), max_size=400))
def test_in_every_moment_of_load_retries_are_within_the_share_or_the_floor(share, wants):
    budget = RetryBudget(share)
    for number, want in enumerate(wants, start=1):
        budget.request(0.5)
        if want:
            budget.take()
        assert budget.spent <= max(FLOOR, share * number + 1e-6)


def test_the_first_requests_of_a_worker_may_be_tried_again():
    budget = RetryBudget(0.2)
    budget.request(0.0)
    assert budget.take()


def test_without_a_share_nothing_is_tried_again():
    budget = RetryBudget(0.0)
    for number in range(1000):
        budget.request(number * 7.0)
    assert not budget.take()


@pytest.mark.catalogue("A12")
def test_a_service_that_was_well_can_retry_all_that_a_dead_replica_leaves():
    budget = RetryBudget(0.2)
    for number in range(2000):
        budget.request(number / 200)
    assert all(budget.take() for _ in range(200))


def test_what_is_saved_is_bounded():
    budget = RetryBudget(0.5)
    for number in range(100_000):
        budget.request(number / 1000)
    assert sum(budget.take() for _ in range(1000)) <= MOST + 1


def test_after_a_quiet_second_the_floor_is_there_again():
    budget = RetryBudget(0.2)
    budget.request(0.0)
    assert sum(budget.take() for _ in range(20)) == FLOOR
    budget.request(5.0)
    assert sum(budget.take() for _ in range(20)) == FLOOR


def test_a_busy_second_gives_no_floor():
    budget = RetryBudget(0.2)
    for second in range(5):
        for _ in range(QUIET):
            budget.request(float(second))
        if second == 0:
            assert sum(budget.take() for _ in range(20)) == FLOOR
    budget.request(5.0)
    assert not budget.take()


def test_only_what_another_replica_may_know_better_is_tried_again():
    assert {502, 503, 504} == RETRIED
