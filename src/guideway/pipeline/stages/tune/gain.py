"""Is the best that was found better than the defaults? Both trained anew, with seeds that no trial had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from guideway.core.evidence import Interval
from guideway.pipeline.stages.intervals import LEVEL, Z

Rows = Sequence[tuple[float, int]]
"""The loss on each row: the sum over what is predicted, and how much that is."""
Outcome = Literal["better", "not shown", "worse", "same", "default failed", "best failed"]

STUDENT = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448,
    2.1314, 2.1199, 2.1098, 2.1009, 2.0930,
)  # fmt: skip
"""Quantiles 0.975 of Student's distribution with 1, 2, … 19 degrees of freedom."""


class Pair(msgspec.Struct, frozen=True):
    """Defaults and best trained with one seed: the loss of each on the same rows."""

    seed: int
    default: float
    best: float


class Gain(msgspec.Struct, frozen=True):
    """The mean loss of the defaults less that of the best; ``interval`` holds over seeds and over rows."""

    value: float
    interval: Interval
    pairs: tuple[Pair, ...]
    n: int
    """Parts predicted in the rows that both were judged by."""


def gain_of(seeds: Sequence[int], defaults: Sequence[Rows], bests: Sequence[Rows]) -> Gain:
    """The gain of the best over the defaults, from one training of each for every one of *seeds* (three or more).

    The interval adds two independent spreads: Student's over the paired differences of the seeds, and the normal
    one over rows, whose mean difference over the seeds is drawn again as a whole.
    """
    default, best = np.asarray(defaults, dtype=np.float64), np.asarray(bests, dtype=np.float64)
    tokens = default[0, :, 1]
    losses = default[:, :, 0].sum(axis=1) / tokens.sum(), best[:, :, 0].sum(axis=1) / tokens.sum()
    by_seed = losses[0] - losses[1]
    mean = float(by_seed.mean())
    over_seeds = STUDENT[len(seeds) - 2] * float(by_seed.std(ddof=1)) / math.sqrt(len(seeds))
    over_rows = Z * _row_error((default[:, :, 0] - best[:, :, 0]).mean(axis=0), tokens)
    half = math.hypot(over_seeds, over_rows)
    pairs = tuple(Pair(*one) for one in zip(seeds, losses[0].tolist(), losses[1].tolist(), strict=True))
    return Gain(mean, Interval(mean - half, mean + half, LEVEL, "paired-t"), pairs, int(tokens.sum()))


def outcome_of(gain: Gain) -> Outcome:
    """What the interval allows to say."""
    if gain.interval.low > 0:
        return "better"
    return "worse" if gain.interval.high < 0 else "not shown"


def _row_error(differences: np.ndarray, tokens: np.ndarray) -> float:
    """The standard error of the mean difference per token when whole rows are drawn again."""
    rows, mean = len(tokens), differences.sum() / tokens.sum()
    if rows < 2:
        return math.inf
    spread = float(((differences - mean * tokens) ** 2).sum())
    return math.sqrt(spread * rows / (rows - 1)) / float(tokens.sum())
