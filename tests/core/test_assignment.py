"""Who is assigned to which arm, with what probability, and that nobody moves back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.assignment import assign, caller_key, fixed_uniform, share_given

PEPPER = bytes(range(32))
weights = st.floats(0.0, 1.0)
uniforms = st.floats(0.0, 1.0, exclude_max=True)


def key(caller, tenant="acme"):
    return caller_key(PEPPER, tenant, caller)


@given(st.text(max_size=40), st.text(min_size=1, max_size=40), st.lists(weights, min_size=2, max_size=8), uniforms)
def test_raising_the_weight_never_moves_a_candidate_caller_back(rollout, caller, steps, uniform):
    arms = [assign(rollout, weight, key=key(caller), uniform=uniform).arm for weight in sorted(steps)]
    assert arms == sorted(arms, reverse=True), "stable first, candidate from some step on"


@given(st.text(min_size=1, max_size=40), weights, uniforms, uniforms)
def test_a_caller_is_assigned_alike_by_every_worker_whatever_its_dice_say(caller, weight, one, other):
    assert assign("r1", weight, key=key(caller), uniform=one) == assign("r1", weight, key=key(caller), uniform=other)


@given(weights, uniforms)
def test_the_anonymous_are_drawn_by_the_dice(weight, uniform):
    assert caller_key(PEPPER, "acme", "") == ""
    assert assign("r1", weight, key="", uniform=uniform).arm == ("candidate" if uniform < weight else "stable")


@given(st.text(min_size=1), weights, uniforms)
def test_the_extremes_are_exact(caller, weight, uniform):
    for who in ("", key(caller)):
        assert assign("r1", 0.0, key=who, uniform=uniform).arm == "stable"
        assert assign("r1", 1.0, key=who, uniform=uniform).arm == "candidate"


@pytest.mark.parametrize("weight", [0.05, 0.25, 0.5])
def test_of_10000_callers_the_candidate_has_its_share(weight):
    taken = sum(assign("r7", weight, key=key(f"user-{n}"), uniform=0.0).arm == "candidate" for n in range(10_000))
    assert taken / 10_000 == pytest.approx(weight, abs=0.02)


def test_two_rollouts_do_not_try_their_candidates_on_the_same_callers():
    callers = [key(f"user-{n}") for n in range(10_000)]
    first, second = ({one for one in callers if fixed_uniform(rollout, one) < 0.3} for rollout in ("r1", "r2"))
    assert len(first & second) / 10_000 == pytest.approx(0.09, abs=0.02)


def test_the_share_is_the_weight_at_the_draw_and_the_key_goes_with_it():
    made = assign("r1", 0.25, key="abc", uniform=0.0)
    assert (made.share, made.key, made.unit, made.why_not) == (0.25, "abc", True, "")


@pytest.mark.parametrize("why", ["seen before", "batch", "golden", "warm-up", "shadow"])
@given(uniform=uniforms)
def test_what_is_no_unit_is_drawn_all_the_same(why, uniform):
    out, counted = (assign("r1", 0.3, key="", uniform=uniform, why_not=reason) for reason in (why, ""))
    assert (out.unit, out.why_not) == (False, why)
    assert (out.arm, out.share) == (counted.arm, counted.share)


def test_without_a_rollout_nobody_is_a_unit():
    assert assign("", 0.5, key="", uniform=0.1).why_not == "no rollout"
    assert assign("r1", 0.0, key="", uniform=0.1).why_not == "no rollout"


def test_a_caller_is_not_another_tenants_caller_of_that_name_and_no_name_can_pretend_to_be():
    assert key("bob", "acme") != key("bob", "globex")
    assert key("3:ab", "") != key("ab", "3:")
    assert key("b", "a") != key("", "ab") != key("ab", "")
    assert caller_key(bytes(32), "acme", "bob") != key("bob")


def test_a_caller_may_be_called_anything():
    assert len({key(name) for name in ("\ud800", "\0", "名", "x" * 10_000)}) == 4


@given(weights, st.none() | st.floats(0.0, 0.999))
def test_a_conditional_share_is_a_probability(weight, stable_at):
    assert 0.0 <= share_given(weight, stable_at) <= 1.0


def test_the_conditional_share_is_how_often_it_happens():
    dice = random.Random(3)
    stable = [u for u in (dice.random() for _ in range(40_000)) if u >= 0.1]
    seen = sum(u < 0.5 for u in stable) / len(stable)
    assert share_given(0.5, 0.1) == pytest.approx(seen, abs=0.01)
    assert share_given(0.1, None) == 0.1
    assert share_given(0.1, 0.5) == 0.0, "after the weight fell, who was stable at the higher one stays there"
