"""The bounds that promotion asks for."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.rollout.eprocess import EProcess, tilted
from guideway.rollout.inferiority import Estimate, log_inferiority, rate_upper, ratio, upper

ALPHA = 0.025
counts = st.tuples(st.integers(0, 400), st.integers(0, 400))
tallies = st.dictionaries(st.sampled_from([0.05, 0.1, 0.25, 0.5]), counts, min_size=1)


@given(tallies, st.floats(1.01, 10.0))
def test_non_inferior_and_a_bound_below_the_margin_are_one_statement(tally, margin):
    proven = log_inferiority(tally, margin) >= math.log(1 / ALPHA)
    bound = upper(tally, ALPHA)
    assert proven == (bound <= margin) or bound == pytest.approx(margin)


@given(tallies)
def test_the_estimate_lies_within_its_interval(tally):
    found = ratio(tally, ALPHA)
    high = math.inf if found.high is None else found.high
    assert found.low <= high
    assert found.value is None or found.low <= found.value <= high


@given(tallies, st.sampled_from([0.05, 0.5]))
def test_a_further_event_of_the_candidate_never_lowers_the_bound(tally, share):
    stable, own = tally.get(share, (0, 0))
    assert upper({**tally, share: (stable, own + 1)}, ALPHA) >= upper(tally, ALPHA) * (1 - 1e-9)


@given(st.floats(1.3, 4.0))
def test_the_bound_is_the_null_moved_to_the_margin_with_alternatives_below(margin):
    """One event at even odds, by hand."""
    chance = tilted(0.5, margin)
    by_hand = sum(1 / (1 - chance + chance / r) for r in (1.25, 1.5, 2, 3, 5, 10, 30)) / 7
    assert log_inferiority({0.5: (1, 0)}, margin) == pytest.approx(math.log(by_hand))


@pytest.mark.parametrize(("tally", "value"), [({}, None), ({0.5: (1, 0)}, 0.0), ({0.5: (0, 1)}, None)])
def test_what_is_not_known_is_said_to_be_unknown(tally, value):
    assert ratio(tally, ALPHA) == Estimate(value, low=0.0, high=None)


def test_the_estimate_is_the_ratio_of_rates():
    tally = {share: (round(4000 * (1 - share)), round(4000 * share * 3)) for share in (0.05, 0.25, 0.5)}
    assert ratio(tally, ALPHA).value == pytest.approx(3.0, rel=1e-3)
    assert ratio({0.5: (4, 8)}, ALPHA).value == pytest.approx(2.0)


def test_five_hundred_clean_requests_bound_the_rate_below_one_percent():
    assert rate_upper(480, 0, ALPHA) > 0.01 > rate_upper(490, 0, ALPHA)


@pytest.mark.parametrize(("requests", "events"), [(0, 0), (3, 3), (1, 0)])
def test_few_requests_bound_nothing(requests, events):
    assert rate_upper(requests, events, ALPHA) == pytest.approx(1.0, abs=1e-3)


def test_at_the_margin_the_proof_comes_seldom_however_often_one_looks():
    dice, proven, walks = random.Random(3), 0, 300
    for _ in range(walks):
        process, best = EProcess(), 0.0
        for _ in range(150):
            process.add(0.5, dice.random() < tilted(0.5, 2.0))
            best = max(best, log_inferiority(process.tally, 2.0))
        proven += best >= math.log(10)
    assert 0 < proven / walks <= 0.1
