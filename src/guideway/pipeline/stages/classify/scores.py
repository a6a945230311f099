"""How good a classifier is: figures of its answers to rows whose class is known, each with an interval. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from guideway.core.evidence import Interval
from guideway.pipeline.stages.intervals import resampled, wilson

BINS = 15
"""Bins of equal width over the confidence, for the calibration error."""

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Score(NamedTuple):
    """One figure over *n* rows."""

    metric: str
    value: float
    unit: str
    n: int
    interval: Interval


def share(metric: str, hits: int, n: int) -> Score:
    """*hits* of *n* rows; of no rows at all nothing is known."""
    return Score(metric, hits / n if n else math.nan, "share", n, wilson(hits, n))


def macro_f1(targets: Ints, found: Ints, classes: int, seed: int) -> Score:
    """The mean F1 of the classes that are there."""

    def statistic(rows: Ints) -> float:
        wanted, said = targets[rows], found[rows]
        right = np.bincount(wanted[wanted == said], minlength=classes)
        both = np.bincount(wanted, minlength=classes) + np.bincount(said, minlength=classes)
        there = np.bincount(wanted, minlength=classes) > 0
        return float((2 * right[there] / both[there]).mean())

    return Score(
        "macro_f1", statistic(np.arange(len(targets))), "", len(targets), resampled(statistic, len(targets), seed)
    )


def log_loss(probabilities: Floats, targets: Ints, seed: int) -> Score:
    """The mean loss in nats per row."""
    losses = -np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-12))

    def statistic(rows: Ints) -> float:
        return float(losses[rows].mean())

    return Score("log_loss", float(losses.mean()), "nats/row", len(targets), resampled(statistic, len(targets), seed))


def calibration_error(confidence: Floats, right: Bools, seed: int) -> Score:
    """The expected calibration error: how far confidence and accuracy are apart, in bins of equal width."""
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = confidence - right

    def statistic(rows: Ints) -> float:
        return float(np.abs(np.bincount(bins[rows], gaps[rows], BINS)).sum() / len(rows))

    rows = len(right)
    return Score("calibration_error", statistic(np.arange(rows)), "share", rows, resampled(statistic, rows, seed))


def paired_difference(ours: Bools, theirs: Bools, seed: int) -> Score:
    """How much more often *ours* is right than *theirs* on the same rows."""
    gains = ours.astype(np.float64) - theirs

    def statistic(rows: Ints) -> float:
        return float(gains[rows].mean())

    rows = len(ours)
    return Score("accuracy_over_baseline", float(gains.mean()), "share", rows, resampled(statistic, rows, seed))


def mcnemar(ours: Bools, theirs: Bools) -> float:
    """The exact probability of so uneven a disagreement, or more, if both were equally good (two-sided)."""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    n, least = only_ours + only_theirs, min(only_ours, only_theirs)
    if n == 0:
        return 1.0
    logs = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(least + 1)]
    return min(1.0, 2 * math.fsum(math.exp(one - n * math.log(2)) for one in logs))


class OfClass(NamedTuple):
    """How one class fares: of ``n`` rows the share that was found, and of what was said to be it, the share that is."""

    label: str
    recall: Score
    precision: Score


def of_classes(targets: Ints, found: Ints, labels: Sequence[str]) -> list[OfClass]:
    """Recall and precision of every class that has a row."""
    scores = []
    for number, label in enumerate(labels):
        wanted, said = targets == number, found == number
        if wanted.any():
            both = int((wanted & said).sum())
            scores.append(
                OfClass(label, share("recall", both, int(wanted.sum())), share("precision", both, int(said.sum())))
            )
    return scores


class Confusion(NamedTuple):
    """So many rows of ``label`` were said to be ``said``."""

    label: str
    said: str
    rows: int


def confusions(targets: Ints, found: Ints, labels: Sequence[str], most: int) -> list[Confusion]:
    """The pairs of classes that are confused most often."""
    wrong = targets != found
    pairs = Counter(zip(targets[wrong].tolist(), found[wrong].tolist(), strict=True))
    ordered = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Confusion(labels[wanted], labels[said], rows) for (wanted, said), rows in ordered[:most]]
