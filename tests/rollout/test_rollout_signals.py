"""What of one request is an event of which signal."""

from __future__ import annotations

import pytest
from rollout_facts import failed, outcome, requests

from guideway.core.outcome import exceeded
from guideway.rollout.signals import (
    LATENCY,
    NAMES,
    OTHERS,
    SHARES,
    TOLERATED,
    Limits,
    events,
    late,
    limits_from,
    quantile,
)

LIMITS = Limits((100.0, 200.0, 300.0, 400.0), first_token=50.0, per_token=9.0, tokens=100.0, length=(5.0, 50.0))


def found(**changes):
    return events(outcome(**changes), LIMITS)


def test_the_shares_of_alpha_are_those_of_the_design():
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert SHARES["errors"] == 0.5
    assert [SHARES[name] for name in LATENCY] == [0.05] * 4
    assert sum(SHARES[name] for name in OTHERS) == pytest.approx(0.3)
    assert set(SHARES) == set(NAMES)
    assert all(TOLERATED[name] == 1.1 for name in LATENCY)
    assert "errors" not in TOLERATED, "one error more is an error more"


def test_a_good_request_speaks_to_every_signal_of_a_request_and_is_an_event_of_none():
    said = found()
    assert set(said) == set(NAMES) - {"language", "feedback", "quality"}
    assert not any(said.values())


CASES = {
    "a status of 500": ({"failure": "status", "first_status": 500}, {"errors"}),
    "a connection refused": ({"failure": "connect", "first_status": 0}, {"errors"}),
    "a stream that broke": ({"failure": "broken"}, {"errors"}),
    "garbage": ({"failure": "garbage"}, {"errors"}),
    "no replica": ({"failure": "no replica", "first_status": 0}, {"errors"}),
    "a failure that a retry rescued": ({"failure": "connect", "first_status": 0, "retried": True}, {"errors"}),
    "a wrong request": ({"status": 400, "first_status": 400}, set()),
    "slower than the median": ({"latency": 150.0}, {"latency_p50"}),
    "slower than all": ({"latency": 401.0}, set(LATENCY)),
    "as slow as the median": ({"latency": 100.0}, set()),
    "a late first token": ({"first_token": 51.0}, {"first_token"}),
    "slow tokens": ({"per_token": 9.5}, {"per_token"}),
    "much read and written": ({"input_tokens": 91}, {"tokens"}),
    "a refusal": ({"refused": True}, {"refusals"}),
    "nothing said": ({"output_tokens": 0}, {"empty", "length"}),
    "cut off": ({"finish_reason": "length"}, {"truncated"}),
    "a guardrail": ({"guarded": True}, {"guarded"}),
    "a long answer": ({"output_tokens": 51}, {"length"}),
    "a short answer": ({"output_tokens": 4}, {"length"}),
    "an answer that never came": (
        {"failure": "time-out", "first_status": 0, "latency": None, "first_token": None, "per_token": None},
        {"errors", "first_token", *LATENCY},
    ),
    "two limits have run out, and the client left": (
        {"failure": "client left", "first_status": 0, "latency": None, "first_token": None, "exceeded": (100.0, 200.0)},
        {"latency_p50", "latency_p90"},
    ),
}


@pytest.mark.parametrize(("changes", "expected"), CASES.values(), ids=CASES)
def test_what_is_an_event(changes, expected):
    assert {name for name, event in found(**changes).items() if event} == expected


SILENT = {
    "a client that left tells nothing of errors": ({"failure": "client left", "latency": 9.0}, {"errors", *LATENCY}),
    "who was refused before any replica was asked too": ({"status": 429, "first_status": 0}, {"errors", "refusals"}),
    "without a stream there is no first token": ({"stream": False}, {"first_token"}),
    "a first token may still come": ({"first_token": None, "latency": 40.0}, {"first_token"}),
    "unknown usage": ({"output_tokens": None}, {"tokens", "empty", "length"}),
    "no reason to finish": ({"finish_reason": ""}, {"truncated"}),
    "a failed request has no answer to judge": ({"failure": "status", "first_status": 500}, {"refusals", "length"}),
    "an answer of another replica is not judged": ({"retried": True}, {"refusals", "empty"}),
}


@pytest.mark.parametrize(("changes", "silent"), SILENT.values(), ids=SILENT)
def test_what_does_not_apply_says_nothing(changes, silent):
    assert not silent & set(found(**changes))


def test_without_limits_the_signals_that_need_one_are_silent():
    assert set(events(outcome(), Limits())) == {"errors", "guarded", "refusals", "empty", "truncated"}


def test_what_is_learnt_later_counts_later():
    assert late() == {}
    assert late(thumb="down") == {"feedback": True}
    assert late(thumb="up", other_language=False) == {"feedback": False, "language": False}


def test_the_limits_the_gateway_is_given_are_those_that_events_ask_for():
    waited = exceeded(250.0, LIMITS.latency)
    said = found(latency=None, exceeded=waited)
    assert [name for name in LATENCY if said.get(name)] == ["latency_p50", "latency_p90"]


def test_limits_are_quantiles_of_what_the_stable_release_did():
    before = [outcome(latency=float(at), first_token=at / 10, output_tokens=at) for at in range(1, 1001)]
    drawn = limits_from(
        [*before, *(failed(latency=9e9) for _ in range(900)), *[outcome(latency=9e9, cached="hit")] * 9]
    )
    assert drawn == Limits((500.0, 900.0, 950.0, 990.0), 90.0, 5.0, 930.0, (50.0, 950.0))


def test_too_few_requests_draw_no_limit():
    assert limits_from(requests(1, 199, 0.0)) == Limits()
    assert limits_from(requests(1, 200, 0.0)).latency


def test_about_the_share_lies_above_a_quantile():
    assert quantile([1.0], 0.5) == 1.0
    assert sum(at > quantile(range(1000), 0.95) for at in range(1000)) == 50
