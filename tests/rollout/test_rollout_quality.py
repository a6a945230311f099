"""The bet on pairs of scores."""

from __future__ import annotations

import math
import random

import pytest

from guideway.rollout.quality import Pairs


def test_a_candidate_that_answers_worse_loses_the_bet():
    pairs, dice = Pairs(), random.Random(2)
    for at in range(150):
        pairs.add(f"p{at}", float(dice.random() < 0.6), float(dice.random() < 0.9))
    assert pairs.peak > math.log(3667)
    assert pairs.difference < -0.2


def test_each_golden_prompt_is_used_once():
    pairs = Pairs()
    assert pairs.add("p", 0.0, 1.0)
    assert not pairs.add("p", 0.0, 1.0)
    assert pairs.pairs == 1


@pytest.mark.parametrize(("candidate", "stable"), [(math.nan, 1.0), (3.0, 0.0)])
def test_a_score_that_is_none_is_not_bet_on(candidate, stable):
    pairs = Pairs()
    assert not pairs.add("p", candidate, stable)
    assert pairs == Pairs()


def test_the_greatest_loss_there_is_leaves_some_capital():
    pairs = Pairs(tolerated=1.0)
    for at in range(300):
        pairs.add(f"p{at}", 1.0, 0.0)
    assert math.isfinite(pairs.log_e)


def test_equal_quality_is_seldom_stopped_however_often_one_looks():
    dice, crossed, walks = random.Random(4), 0, 400
    for _ in range(walks):
        pairs = Pairs()
        for at in range(200):
            pairs.add(str(at), float(dice.random() < 0.8), float(dice.random() < 0.8))
        crossed += pairs.peak >= math.log(10)
    assert 0 < crossed / walks <= 0.1
