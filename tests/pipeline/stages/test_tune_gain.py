"""The gain over the defaults: an interval that holds, and the rule that follows from it."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tune_works import Inline

from guideway.core.spec import Tune
from guideway.pipeline.stages.tune.confirm import Anew, Verdict
from guideway.pipeline.stages.tune.gain import STUDENT, gain_of, outcome_of

SEEDS = (1, 2, 3)


def tune_of(**more) -> Tune:
    return msgspec.convert({"search": {"batch": {"choices": [8, 16]}}, **more}, Tune)


def rows(*losses: float) -> list[tuple[float, int]]:
    return [(loss, 1) for loss in losses]


def test_the_gain_is_the_mean_difference_per_token():
    defaults = [[(4.0, 1), (2.0, 3)]] * 3
    bests = [[(2.0, 1), (0.0, 3)]] * 3
    gain = gain_of(SEEDS, defaults, bests)
    assert gain.value == 1.0 and gain.n == 4
    assert [(pair.seed, pair.default, pair.best) for pair in gain.pairs] == [(seed, 1.5, 0.5) for seed in SEEDS]


def test_without_any_spread_the_interval_is_the_gain_itself():
    gain = gain_of(SEEDS, [rows(2.0, 2.0)] * 3, [rows(1.0, 1.0)] * 3)
    assert (gain.interval.low, gain.interval.high) == (1.0, 1.0) and outcome_of(gain) == "better"


def test_the_interval_over_seeds_is_students():
    defaults = [rows(*[level] * 4) for level in (1.0, 2.0, 3.0)]
    gain = gain_of(SEEDS, defaults, [rows(*[0.0] * 4)] * 3)
    assert math.isclose(gain.interval.high - gain.value, STUDENT[1] * 1.0 / math.sqrt(3))
    assert outcome_of(gain) == "not shown"


def test_the_quantiles_are_students():
    stats = pytest.importorskip("scipy.stats")
    assert np.allclose(STUDENT, [stats.t.ppf(0.975, df) for df in range(1, 20)], atol=5e-5)


def test_a_loss_that_is_worse_for_sure_is_called_so():
    assert outcome_of(gain_of(SEEDS, [rows(1.0, 1.0)] * 3, [rows(2.0, 2.0)] * 3)) == "worse"


@pytest.mark.parametrize(("between_seeds", "between_rows"), [(0.3, 0.0), (0.05, 1.0), (0.3, 1.0)])
def test_where_there_is_no_gain_one_is_shown_seldom(between_seeds, between_rows):
    draw, wrong, times = np.random.default_rng(1), 0, 400
    for _ in range(times):
        row = draw.normal(0, between_rows, 40)
        seed = draw.normal(0, between_seeds, 3)
        difference = seed[:, None] + row[None, :] + draw.normal(0, 0.1, (3, 40))
        zero = np.full((3, 40), 5.0)
        ones = np.ones((3, 40))
        gain = gain_of(SEEDS, np.stack([zero + difference, ones], -1), np.stack([zero, ones], -1))
        wrong += outcome_of(gain) != "not shown"
    assert wrong / times < 0.075  # 5 % asked for, three standard errors above


# Training anew


class Trainings:
    """Work whose loss follows from the parameters; counts what ran."""

    def __init__(self, *, fails: int = 0, dies_after: int = 1 << 30) -> None:
        self.fails, self.left, self.ran = fails, dies_after, []

    def __call__(self, asked, report):
        parameters, seed = asked
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.ran.append((parameters["batch"], seed))
        if parameters["batch"] == self.fails:
            raise ValueError("the loss became nan at step 3")
        report(1, 9.0)
        return rows(*[parameters["batch"] / 8 + seed % 7 * 1e-6] * 5)


ARMS = {"default": {"batch": 16}, "best": {"batch": 8}}


def confirmed(folder: Path, work, arms=ARMS, told=None, **more) -> Verdict:
    heard = [] if told is None else told
    anew = Anew(Inline(work, 2), lambda parameters, seed: (parameters, seed), folder, heard.append)
    return anew.confirm(tune_of(**more), arms)


def test_both_are_trained_with_the_same_fresh_seeds(tmp_path):
    work, told = Trainings(), []
    verdict = confirmed(tmp_path, work, told=told, repeats=4)
    assert verdict.outcome == "better" and verdict.taken and math.isclose(verdict.gain.value, 1.0)
    seeds = {batch: {seed for one, seed in work.ran if one == batch} for batch in (8, 16)}
    assert seeds[8] == seeds[16] and len(seeds[8]) == 4
    assert told[-1] == 8 and told == sorted(told)


@pytest.mark.parametrize(
    ("arms", "fails", "outcome", "taken"),
    [
        ({"default": {"batch": 8}, "best": {"batch": 16}}, 0, "worse", False),
        ({"default": {"batch": 8}, "best": {"batch": 8}}, 0, "same", False),
        (ARMS, 8, "best failed", False),
        (ARMS, 16, "default failed", True),
    ],
)
def test_training_takes_the_best_only_where_it_is_shown_to_be_better(tmp_path, arms, fails, outcome, taken):
    verdict = confirmed(tmp_path, Trainings(fails=fails), arms)
    assert (verdict.outcome, verdict.taken) == (outcome, taken)
    assert ("nan at step 3" in verdict.reason) == bool(fails)


def test_a_gain_within_the_noise_keeps_the_defaults(tmp_path):
    def noisy(asked, _report):
        parameters, seed = asked
        return rows(*[1.0 + seed % 5 * (parameters["batch"] - 12)] * 5)

    verdict = confirmed(tmp_path, noisy)
    assert verdict.outcome == "not shown" and not verdict.taken
    assert verdict.gain.interval.low < 0 < verdict.gain.interval.high


def test_trainings_that_a_kill_left_are_not_repeated(tmp_path):
    first, second = Trainings(dies_after=3), Trainings()
    with pytest.raises(KeyboardInterrupt):
        confirmed(tmp_path, first)
    assert confirmed(tmp_path, second) == confirmed(tmp_path / "whole", Trainings())
    assert len(second.ran) == 6 - 2  # two were heard of before the kill
