"""Who counts: requests by themselves, callers at most once per weight."""

from __future__ import annotations

import random

import msgspec
import pytest
from rollout_facts import outcome

from guideway.core.assignment import assign
from guideway.rollout import units
from guideway.rollout.units import Callers, Trials, mode_for


def score(callers, weight, arm, unit="a" * 32, **more):
    return callers.score(outcome(unit=unit, share=weight, arm=arm, **more))


def test_in_request_mode_every_event_counts_with_its_share():
    callers = Callers()
    assert [callers.score(outcome(share=0.25)) for _ in range(3)] == [0.25] * 3
    assert not callers.scored, "nothing is remembered of the anonymous"


def test_a_caller_counts_once_per_weight_and_then_with_what_is_left_to_tell():
    callers = Callers()
    assert score(callers, 0.1, "stable") == 0.1
    assert score(callers, 0.1, "stable") is None
    assert score(callers, 0.25, "stable") == pytest.approx((0.25 - 0.1) / 0.9)
    assert score(callers, 0.5, "stable") == pytest.approx((0.5 - 0.25) / 0.75)


def test_a_caller_that_was_quiet_at_a_weight_is_new_at_the_next():
    callers = Callers()
    assert score(callers, 0.5, "candidate") == 0.5


def test_a_caller_scored_on_the_candidate_never_counts_again():
    callers = Callers()
    assert score(callers, 0.1, "candidate") == 0.1
    assert [score(callers, weight, "candidate") for weight in (0.1, 0.25, 0.5)] == [None] * 3


def test_a_weight_that_was_lowered_tells_nothing_of_a_known_caller():
    callers = Callers()
    score(callers, 0.25, "stable")
    assert score(callers, 0.1, "stable") is None
    assert score(callers, 0.1, "stable", unit="b" * 32) == 0.1


@pytest.mark.parametrize("why", ["seen before", "batch", "golden", "warm-up", "shadow", "no rollout"])
def test_what_is_no_unit_counts_nowhere_and_uses_nothing_up(why):
    callers, trials = Callers(), Trials()
    assert score(callers, 0.1, "candidate", why_not=why) is None
    trials.add(outcome(arm="candidate", why_not=why), True)
    assert callers == Callers()
    assert trials == Trials()


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_a_draw_nothing_is_scored(share):
    assert Callers().score(outcome(share=share)) is None
    assert score(Callers(), share, "stable") is None


def test_memory_is_bounded_and_known_callers_go_on(monkeypatch):
    monkeypatch.setattr(units, "CALLERS_KEPT", 2)
    callers, trials = Callers(), Trials()
    for unit in ("a" * 32, "b" * 32, "c" * 32):
        score(callers, 0.1, "stable", unit=unit)
        trials.add(outcome(arm="candidate", unit=unit), False)
    assert len(callers.scored) == len(trials.callers) == trials.requests == 2
    assert score(callers, 0.25, "stable", unit="a" * 32) is not None
    assert score(callers, 0.25, "stable", unit="c" * 32) is None


def test_the_share_is_the_chance_of_the_candidate_whatever_a_caller_did_before():
    """With real assignments: over many callers the scores add up to the candidates, at every step by itself."""
    dice, sums = random.Random(5), {}
    callers = Callers()
    for caller in range(4000):
        for weight in (0.05, 0.1, 0.25, 0.5):
            if dice.random() < 0.6:  # it may have no event at this weight
                drawn = assign("r", weight, key=f"{caller:032x}"[::-1], uniform=0.0)
                share = callers.score(outcome(unit=drawn.key, share=weight, arm=drawn.arm))
                if share is not None:
                    total, variance = sums.get(weight, (0.0, 0.0))
                    sums[weight] = total + (drawn.arm == "candidate") - share, variance + share * (1 - share)
    assert len(sums) == 4
    assert all(abs(total) < 3.5 * variance**0.5 for total, variance in sums.values())


def test_only_the_first_trial_of_a_caller_counts_for_the_candidates_own_rate():
    trials = Trials()
    for event in (False, True, True):
        trials.add(outcome(arm="candidate", unit="a" * 32), event)
    trials.add(outcome(arm="candidate"), True)
    trials.add(outcome(arm="candidate"), True)
    trials.add(outcome(arm="stable"), True)
    assert (trials.requests, trials.events) == (3, 2)


def test_callers_are_drawn_only_where_there_are_many():
    assert [mode_for(count) for count in (0, 999, 1000)] == ["request", "request", "caller"]


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_what_was_scored_survives_being_written(codec):
    callers = Callers()
    score(callers, 0.1, "stable")
    score(callers, 0.1, "candidate", unit="b" * 32)
    assert codec.decode(codec.encode(callers), type=Callers) == callers
