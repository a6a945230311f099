"""Usage and claims: sums that are exact, and claims that never exceed the limit, also from several processes."""

from __future__ import annotations

import multiprocessing

import pytest

from guideway.store import usage
from guideway.store.database import Database
from guideway.store.usage import Use

NO = 1 << 60


def take(database, need, want=None, limit=(100, 1000, NO), period="minute", number=5, key="k"):
    return usage.claim(database, key, period, number, need=need, want=want or need, limit=limit)


def test_what_is_wanted_is_claimed_while_it_is_there_then_what_is_left_and_then_nothing(database):
    assert take(database, (1, 10, 0), (60, 10, 0)) == ((60, 10, 0), (40, 990, NO))
    assert take(database, (1, 10, 0), (60, 10, 0)) == ((40, 10, 0), (0, 980, NO))
    assert take(database, (1, 10, 0)) == ((0, 0, 0), (0, 980, NO))
    assert take(database, (0, 10, 0)) == ((0, 10, 0), (0, 970, NO))


def test_windows_periods_and_keys_have_budgets_of_their_own(database):
    full = (100, 0, 0)
    for where in ({}, {"number": 6}, {"period": "day"}, {"key": "other"}):
        assert take(database, full, **where)[0] == full
        assert take(database, (1, 0, 0), **where)[0] == (0, 0, 0)


def test_what_is_given_back_can_be_claimed_again_and_what_is_owed_cannot(database):
    take(database, (100, 0, 0))
    usage.change_claim(database, "k", "minute", 5, (-30, 0, 0))
    assert take(database, (30, 0, 0))[0] == (30, 0, 0)
    usage.change_claim(database, "k", "minute", 5, (0, 5000, 0))
    assert take(database, (0, 1, 0)) == ((0, 0, 0), (0, -4000, NO))


def test_a_new_limit_for_the_day_counts_what_was_used_that_day(database):
    usage.add(database, "k", 5, Use(70, 300, 200, 9))
    assert take(database, (31, 0, 0), period="day") == ((0, 0, 0), (30, 500, NO - 9))
    assert take(database, (30, 0, 0), period="day")[0] == (30, 0, 0)
    assert take(database, (100, 0, 0), period="minute")[0] == (100, 0, 0)


def test_usage_adds_up_by_key_and_day(database):
    for use in (Use(1, 10, 20, 7), Use(2, 30, 40, 1 << 50)):
        usage.add(database, "k", 5, use)
    usage.add(database, "k", 6, Use(1))
    usage.add(database, "other", 5, Use(1))
    assert usage.of_day(database, 5) == {"k": Use(3, 40, 60, (1 << 50) + 7), "other": Use(1)}
    assert usage.of_day(database, 4) == {}


def test_old_claims_are_forgotten_and_others_stay(database):
    for period, number in (("minute", 4), ("minute", 5), ("day", 4), ("day", 5)):
        take(database, (100, 0, 0), period=period, number=number)
    assert usage.forget_claims(database, minute=5, day=5) == 2
    assert take(database, (1, 0, 0), period="minute", number=5)[0] == (0, 0, 0)
    assert take(database, (1, 0, 0), period="day", number=5)[0] == (0, 0, 0)


def _claim_all(where, results):
    with Database(where) as database:
        results.put(sum(take(database, (1, 0, 0), (3, 0, 0))[0][0] for _ in range(30)))


@pytest.mark.catalogue("B28")
def test_processes_that_claim_at_once_get_the_limit_together_and_no_more(where):
    Database(where).close()
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    workers = [spawn.Process(target=_claim_all, args=(where, results)) for _ in range(3)]
    for one in workers:
        one.start()
    total = sum(results.get(timeout=60) for _ in workers)
    for one in workers:
        one.join(30)
    assert total == 100
