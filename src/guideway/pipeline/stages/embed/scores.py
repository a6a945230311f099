"""How well questions find their passages: figures of rankings, each with an interval. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from guideway.pipeline.stages.classify.scores import Score
from guideway.pipeline.stages.embed.rows import Query
from guideway.pipeline.stages.intervals import resampled

DEPTH = 10
"""Passages that are looked at, from the top."""

Floats = NDArray[np.float64]
Each = Mapping[str, Floats]
"""By figure: its value for each question."""


def each(found: NDArray[np.floating], queries: Sequence[Query]) -> Each:
    """The figures of every question, from the scores *found* of all passages: [questions, passages].

    Of passages that score the same the first one counts as better. Where more passages are right than are looked
    at, a recall of 1 means that all of those are.
    """
    order = np.argsort(-found, axis=1, kind="stable")[:, :DEPTH]
    hits = np.array([[number in one.right for number in row] for one, row in zip(queries, order.tolist(), strict=True)])
    hits = hits.reshape(len(queries), -1).astype(np.float64)
    right = np.array([len(one.right) for one in queries], dtype=np.int64)
    discount = 1.0 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.cumsum(discount)[np.minimum(right, DEPTH) - 1]
    ndcg = (hits * discount[: hits.shape[1]]).sum(axis=1) / ideal
    return {
        "recall_at_1": _recall(hits, right, 1),
        "recall_at_5": _recall(hits, right, 5),
        "mrr_at_10": (hits / np.arange(1, hits.shape[1] + 1)).max(axis=1),
        "ndcg_at_10": ndcg,
        "ndcg_loss": 1.0 - ndcg,
    }


def _recall(hits: Floats, right: NDArray[np.int64], most: int) -> Floats:
    return np.asarray(hits[:, :most].sum(axis=1) / np.minimum(right, most), dtype=np.float64)


def means(figures: Each, seed: int, prefix: str = "") -> list[Score]:
    """The mean of each figure."""
    return [mean(f"{prefix}{name}", values, seed) for name, values in figures.items()]


def gain(metric: str, ours: Each, theirs: Each, seed: int) -> Score:
    """By how much the nDCG of *ours* is above that of *theirs* on the same questions."""
    return mean(metric, ours["ndcg_at_10"] - theirs["ndcg_at_10"], seed)


def mean(metric: str, values: Floats, seed: int) -> Score:
    """The mean of *values*, with where it lies when questions are drawn again."""

    def statistic(rows: NDArray[np.int64]) -> float:
        return float(values[rows].mean())

    return Score(metric, float(values.mean()), "share", len(values), resampled(statistic, len(values), seed))


def ranks(found: NDArray[np.floating], queries: Sequence[Query]) -> list[int]:
    """Where the first right passage of each question stands, from 1."""
    order = np.argsort(-found, axis=1, kind="stable").tolist()
    return [
        next(at for at, number in enumerate(row, 1) if number in one.right)
        for one, row in zip(queries, order, strict=True)
    ]
