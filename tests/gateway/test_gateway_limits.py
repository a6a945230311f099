"""Limits: what a key may use is granted once, whatever the order of words, whoever dies, whatever the clock says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from limits_rig import START, Paper, Site, key

from guideway.core.route import ApiKey
from guideway.core.spec.gateway import Limits, Price
from guideway.gateway.limits import windows
from guideway.gateway.limits.account import Account
from guideway.gateway.limits.amounts import Amounts, Estimate, budget_of, cost
from guideway.gateway.limits.key_lease import Reservation
from guideway.gateway.limits.messages import Spent


@pytest.fixture
def site():
    return Site(Paper())


def ask(site, one, count, **tokens):
    """*count* calls, spread over the workers; those that may run."""
    calls = [site.call(number % len(site.meters), one, **tokens) for number in range(count)]
    site.settle()
    return [call for call in calls if call.runs], [call for call in calls if not call.runs]


def test_a_key_without_limits_asks_nobody_and_waits_for_nobody(site):
    call = site.call(0, key())
    assert call.runs and not call.waited and not site.step()


def test_limits_of_the_environment_hold_for_keys_that_have_none_of_their_own():
    site = Site(Paper(), standard=Limits(requests_per_minute=3))
    assert len(ask(site, key("a"), 10)[0]) == 3
    assert len(ask(site, key("b", requests_per_minute=5), 10)[0]) == 5


def test_a_key_of_its_own_empty_limits_is_not_limited_by_the_environment():
    site = Site(Paper(), standard=Limits(requests_per_minute=3))
    free = ApiKey(id="free", digest="", limits=Limits())
    assert len(ask(site, free, 10)[0]) == 10


@pytest.mark.catalogue("B28")
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("limit", [1, 7, 100, 150])
def test_200_parallel_calls_get_exactly_as_many_requests_as_there_are(limit, seed):
    site = Site(Paper(), seed=seed)
    runs, refused = ask(site, key(requests_per_minute=limit), 200)
    assert len(runs) == limit and {call.status for call in refused} == {429}


@pytest.mark.catalogue("B28")
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"tokens_per_minute": 10_000}, 50),
        ({"tokens_per_day": 5_000}, 25),
        ({"money_per_minute": 0.0054}, 18),
        ({"money_per_day": 0.03, "requests_per_minute": 150}, 100),
        ({"tokens_per_minute": 10_000, "requests_per_minute": 40, "money_per_day": 1.0}, 40),
    ],
)
def test_tokens_and_money_are_granted_exactly(limits, expected, seed):
    site = Site(Paper(), seed=seed)
    runs, _ = ask(site, key(**limits), 200, input_tokens=100, output_tokens=100)
    assert len(runs) == expected


def test_what_was_reserved_and_not_used_can_be_used_by_others(site):
    one = key(tokens_per_minute=1000)
    runs, _ = ask(site, one, 10, input_tokens=100, output_tokens=400)
    assert len(runs) == 2
    for call in runs:
        call.settle(output_tokens=0)
    site.later(0.3)
    assert len(ask(site, one, 10, input_tokens=100, output_tokens=100)[0]) == 4


def test_what_was_used_beyond_the_reservation_is_owed(site):
    one = key(tokens_per_minute=1000)
    (first,), _ = ask(site, one, 1, output_tokens=100)
    first.settle(output_tokens=900)
    site.later(0.3)
    assert len(ask(site, one, 10, output_tokens=50)[0]) == 2


def test_a_debt_beyond_the_limit_reaches_the_rows(site):
    one = key(tokens_per_day=1000)
    (first,), _ = ask(site, one, 1, output_tokens=100)
    first.settle(output_tokens=5000)
    site.later(0.6)
    assert [row[1] for window, row in site.paper.claimed.items() if window.period == "day"] == [5000]
    assert not ask(site, one, 3, output_tokens=1)[0]


def test_a_new_minute_brings_a_new_budget_and_a_new_day_does_too(site):
    one = key(requests_per_minute=5, requests_per_day=8)
    assert len(ask(site, one, 10)[0]) == 5
    site.later(60)
    assert len(ask(site, one, 10)[0]) == 3
    site.later(60)
    assert len(ask(site, one, 10)[0]) == 0
    site.later(86_400)
    assert len(ask(site, one, 10)[0]) == 5


def test_what_is_settled_after_its_minute_does_not_enlarge_the_next(site):
    one = key(tokens_per_minute=1000)
    runs, _ = ask(site, one, 2, output_tokens=500)
    site.later(60)
    assert len(ask(site, one, 1, output_tokens=400)[0]) == 1
    for call in runs:
        call.settle(output_tokens=0)
    site.later(0.3)
    assert len(ask(site, one, 10, output_tokens=300)[0]) == 2


def test_the_lease_of_an_idle_worker_comes_back_within_a_second(site):
    one = key(requests_per_minute=100)
    (call,), _ = ask(site, one, 1)
    call.settle()
    site.later(0.4)
    site.later(0.4)
    lease = site.book.accounts["k"].leases
    assert not lease
    assert site.book.accounts["k"].shares[0].taken.requests == 1


def test_the_lease_of_a_worker_that_died_is_free_again_and_what_its_requests_had_reserved_is_not(site):
    one = key(requests_per_minute=100)
    runs = [site.call(0, one) for _ in range(30)]
    site.settle()
    site.later(0.3)
    assert all(call.runs for call in runs)
    site.book.left(0)
    site.down[0].clear()
    calls = [site.call(1, one) for _ in range(100)]
    site.settle()
    assert sum(call.runs for call in calls) == 70


def test_a_client_that_left_while_it_waited_takes_nothing(site):
    one = key(requests_per_minute=1)
    gone = site.call(0, one)
    gone.gone = True
    site.settle()
    assert gone.outcome is None
    site.later(0.3)
    assert len(ask(site, one, 2)[0]) == 1


def test_raised_and_lowered_limits_hold_from_the_next_request_on(site):
    assert len(ask(site, key(requests_per_minute=10), 20)[0]) == 10
    site.later(1.1)
    assert len(ask(site, key(requests_per_minute=15), 20)[0]) == 5
    site.later(1.1)
    assert len(ask(site, key(requests_per_minute=4), 20)[0]) == 0
    assert len(ask(site, key(requests_per_day=40), 100)[0]) == 40 - 15


def test_a_request_that_can_never_fit_is_refused_at_once_and_without_a_time_to_come_again(site):
    call = site.call(0, key(tokens_per_minute=100), output_tokens=101)
    assert call.status == 429 and b"Retry-After" not in call.outcome.lines and not site.step()


def test_a_refusal_tells_what_is_used_up_and_when_to_come_again(site):
    site.now = 30.0
    _, refused = ask(site, key(requests_per_minute=2, tokens_per_minute=1000), 3, output_tokens=100)
    error = refused[0].outcome
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "requests")
    lines = dict(line.split(b": ") for line in error.lines.splitlines())
    assert lines == {
        b"Retry-After": b"1",
        b"x-ratelimit-limit-requests": b"2",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"30s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"800",
        b"x-ratelimit-reset-tokens": b"30s",
    }


def test_when_nothing_under_way_can_free_anything_the_time_to_come_again_is_the_next_window(site):
    site.now = 30.0
    one = key(requests_per_minute=2)
    for call in ask(site, one, 2)[0]:
        call.settle()
    site.later(0.3)
    (refused,) = ask(site, one, 1)[1]
    assert b"Retry-After: 30\r\n" in refused.outcome.lines


def test_a_flood_of_refused_requests_does_not_reach_the_limiter(site):
    one = key(requests_per_minute=1)
    ask(site, one, 4)
    calls = [site.call(0, one) for _ in range(1000)]
    assert all(call.status == 429 and not call.waited for call in calls) and not site.step()


# The limiter, the rows and the clock fail.


def test_without_a_limiter_keys_with_limits_are_refused_after_a_while_and_others_run(site):
    site.kill()
    call = site.call(0, key(requests_per_minute=5))
    assert call.waited
    site.now = 2.1
    site.meters[0].tick()
    assert call.status == 503 and b"Retry-After: 1\r\n" in call.outcome.lines
    assert site.call(0, key(requests_per_minute=5)).status == 503
    assert site.call(0, key("free")).runs


def test_a_limiter_that_comes_back_in_time_serves_those_who_waited(site):
    site.kill()
    call = site.call(0, key(requests_per_minute=5))
    site.start()
    site.settle()
    assert call.runs


def test_rows_that_cannot_be_reached_refuse_keys_with_limits_and_keep_what_was_used(site):
    site.rows_down = True
    call, free = site.call(0, key(requests_per_minute=5)), site.call(0, key("free"))
    free.settle(3, 4)
    site.settle()
    site.later(0.3)
    assert call.status == 503
    site.rows_down = False
    site.later(1.0)
    assert [tuple(used)[:3] for used in site.paper.used.values()] == [(1, 3, 4)]
    assert ask(site, key(requests_per_minute=5), 1)[0]


def test_a_worker_that_stands_still_keeps_its_lease_and_makes_nobody_wait_for_long(site):
    one = key(requests_per_minute=100)
    site.call(1, one)
    site.settle()
    held = site.meters[1]._leases["k"].lease.requests
    assert held > 0
    calls = [site.call(0, one) for _ in range(100)]
    while site.up[0] or site.down[0] or site.book.urgent:
        while site.up[0]:
            site.book.heard(0, site.up[0].popleft())
        while site.down[0]:
            site.meters[0].heard(site.down[0].popleft())
        site.write()
    assert any(call.outcome is None for call in calls), "the one that stands still was asked"
    site.now += 0.6
    site.book.tick()
    site.down[1].clear()
    site.settle()
    assert sum(call.runs for call in calls) == 100 - 1 - held
    assert all(call.outcome is not None for call in calls)


def test_a_killed_limiter_grants_nothing_twice(site):
    one = key(requests_per_minute=100)
    first, _ = ask(site, one, 60)
    site.kill()
    site.start()
    second, _ = ask(site, one, 200)
    granted = len(first) + len(second)
    assert 100 - 100 // 8 - 1 <= granted <= 100


def test_the_lease_of_a_killed_limiter_can_be_used_but_not_given_back_to_the_next(site):
    one = key(requests_per_day=100)
    site.call(0, one)
    site.settle()
    site.kill()
    site.start()
    call = site.call(0, one)
    assert call.runs and not call.waited
    call.settle()
    site.meters[0].tick()
    site.now += 1.0
    site.meters[0].tick()
    assert [type(word) for word in site.up[0]] == [Spent]


def test_what_somebody_gives_back_who_never_got_it_is_not_believed():
    account = Account("k", budget_of(Limits(requests_per_minute=10)), 5, 0, 0.0)
    account.close(1, 5, 0, Amounts(7), Amounts(7))
    assert account.shares[0].taken == Amounts(0)
    account.grant(1, Amounts(3))
    account.close(1, 5, 0, Amounts(7), Amounts(7))
    assert account.shares[0].taken == Amounts(0)


def test_a_claim_that_comes_too_late_for_its_window_goes_back_to_the_rows(site):
    site.meters[0].take(key(requests_per_minute=80), Estimate(), None)
    site.book.heard(0, site.up[0].popleft())
    work = site.book.work()
    site.now += 60.0
    site.book.tick()
    site.book.done(site.paper.do(work))
    assert site.book.work().changes == [(work.claims[0].window, Amounts(-11))]


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86_400.0, -86_400.0, 61.0, -61.0])
def test_a_clock_that_jumps_away_and_back_gives_no_window_out_twice(site, jump):
    one = key(requests_per_minute=10)
    assert len(ask(site, one, 20)[0]) == 10
    site.skew = jump
    site.later(1.1)
    assert len(ask(site, one, 20)[0]) == 10
    site.skew = 0.0
    site.later(1.1)
    assert len(ask(site, one, 20)[0]) == 0


def test_two_hosts_with_the_same_rows_share_one_budget():
    paper = Paper()
    sites = [Site(paper, seed=1), Site(paper, seed=2)]
    one = key(requests_per_minute=100, tokens_per_day=15_000)
    calls = [site.call(number % 2, one, output_tokens=100) for number in range(100) for site in sites]
    while any(site.step() for site in sites):
        pass
    granted = sum(call.runs for call in calls)
    assert 85 <= granted <= 100  # a host may still hold a claim that it did not lease
    for call in calls:
        if call.runs:
            call.settle()
    for _ in range(3):
        for site in sites:
            site.later(6.0)
    more = [call for site in sites for _ in range(4) for call in ask(site, one, 20, output_tokens=100)[0]]
    assert granted + len(more) == 100


LIMITS = st.builds(
    Limits,
    requests_per_minute=st.sampled_from([0, 1, 20]),
    requests_per_day=st.sampled_from([0, 30]),
    tokens_per_minute=st.sampled_from([0, 1000]),
    tokens_per_day=st.sampled_from([0, 1500]),
    money_per_day=st.sampled_from([0.0, 0.002]),
)


@settings(max_examples=150, deadline=None)
@given(LIMITS, st.integers(0, 1 << 30))
def test_whatever_happens_in_whatever_order_no_window_grants_more_than_its_limit(limits, seed):
    """Calls, settlements, deaths of workers and limiters, idle times and clock jumps, at random."""
    dice = random.Random(seed)
    sites = [Site(paper := Paper(), seed=seed), Site(paper, workers=1, seed=seed + 1)]
    one = ApiKey(id="k", digest="", limits=limits)
    granted: dict = {}
    running = []
    for _ in range(120):
        site = dice.choice(sites)
        what = dice.random()
        if what < 0.5:
            calls = [site.call(dice.randrange(len(site.meters)), one, dice.randrange(60), dice.randrange(60))
                     for _ in range(dice.randrange(1, 5))]  # fmt: skip
            running += calls
        elif what < 0.8:
            for _ in range(dice.randrange(20)):
                site.step()
        elif what < 0.9 and (done := [call for call in running if call.runs]):
            call = dice.choice(done)
            call.used = (
                dice.randrange(call.estimate.input_tokens + 1),
                dice.randrange(call.estimate.output_tokens + 1),
            )
            _count(granted, call, limits, call.used)
            call.settle(*call.used)
            running.remove(call)
        elif what < 0.94:
            site.later(dice.choice([0.3, 1.1, 7.0, 61.0]))
        elif what < 0.97:
            site.kill()
            site.start()
        elif what < 0.985:
            site.die(number := dice.randrange(len(site.meters)))
            dead = [call for call in running if call.site is site and call.worker == number]
            running = [call for call in running if call not in dead]
            for call in dead:
                if call.runs:
                    _count(granted, call, limits, (call.estimate.input_tokens, call.estimate.output_tokens))
        else:
            site.skew += dice.choice([-61.0, 61.0, 3600.0, -3600.0])
    for site in sites:
        site.settle()
    for call in running:
        if call.runs:
            _count(granted, call, limits, (call.estimate.input_tokens, call.estimate.output_tokens))
    budget = budget_of(limits)
    for (period, _), amounts in granted.items():
        limit = getattr(budget, period) if budget else (1 << 60,) * 3
        assert all(got <= top for got, top in zip(amounts, limit, strict=True)), (granted, limits)


def _count(granted, call, limits, used):
    if not isinstance(call.outcome, Reservation) or limits == Limits():
        return
    minute = call.outcome.minute
    money = cost(Price(input=1.0, output=2.0), *used)
    for name in (("minute", minute), ("day", windows.day_of(minute))):
        before = granted.get(name, (0, 0, 0))
        granted[name] = (before[0] + 1, before[1] + sum(used), before[2] + money)


# Arithmetic.


@pytest.mark.parametrize(
    ("price", "tokens", "billionths"),
    [
        (Price(), (1000, 1000), 0),
        (Price(input=1.0), (1, 0), 1000),
        (Price(input=0.15, output=0.6), (3, 1), 450 + 600),
        (Price(input=0.0001), (1, 0), 1),
        (Price(input=2.5, output=10.0), (1_000_000, 1_000_000), 12_500_000_000),
    ],
)
def test_money_is_counted_in_billionths_and_rounded_up(price, tokens, billionths):
    assert cost(price, *tokens) == billionths


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250ms"), (0, "0ms"), (1, "1s"), (59.6, "1m0s"), (90, "1m30s"), (7200, "2h0m0s"), (86_399, "23h59m59s")],
)
def test_durations_are_written_as_clients_read_them(seconds, text):
    assert windows.brief(seconds) == text


def test_windows_begin_with_the_minutes_and_days_of_utc():
    assert windows.left("minute", START) == 60.0 and windows.left("minute", START + 59.5) == 0.5
    assert windows.left("day", 86_400.0 * 3 - 1) == 1.0
    assert windows.day_of(windows.minute_of(86_400.0 * 3 - 1)) == 2


def test_no_limits_are_no_budget():
    assert budget_of(Limits()) is None
    assert Estimate().input_tokens == 0


def test_what_more_than_the_whole_budget_needs_is_not_to_be_tried_again(site):
    refused = site.call(0, key(tokens_per_minute=100), output_tokens=500).outcome
    assert refused.status == 429 and b"x-should-retry: false" in refused.lines
