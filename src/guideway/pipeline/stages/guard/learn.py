"""How the classifier is learnt and judged: logistic regression, exactly repeatable, in folds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from guideway.core.classifier import BITS, features, read_classifier, write_classifier
from guideway.core.protocols import Job
from guideway.core.text_forms import latin
from guideway.pipeline.stages.guard.rows import FOLDS, Row
from guideway.pipeline.stages.intervals import wilson

DECAY = 0.1
"""Of the squared weights, against a loss that is summed over the rows."""
STEPS = 150


def indices_of(rows: Sequence[Row]) -> list[np.ndarray]:
    """The features of every row, in order."""
    return [np.fromiter(sorted(features(row.prompt)), dtype=np.int64) for row in rows]


def learnt(rows: Sequence[Row], indices: Sequence[np.ndarray]) -> bytes:
    """The file of the classifier for *rows*, whose features are *indices*: the same bytes for the same rows."""
    import torch

    torch.set_num_threads(1)  # so that sums are made in one order
    columns, place = np.unique(np.concatenate(indices), return_inverse=True)
    sizes = [len(index) for index in indices]
    row = np.repeat(np.arange(len(rows)), sizes)
    value = np.repeat([1.0 / max(1.0, size) ** 0.5 for size in sizes], sizes)
    sign = np.array([1.0 if one.label == "refuse" else -1.0 for one in rows])
    weight = np.array([one.weight for one in rows])
    point = torch.zeros(len(columns) + 1, dtype=torch.float64, requires_grad=True)

    def loss() -> Any:
        at = point.detach().numpy()
        margin = sign * (np.bincount(row, value * at[place], len(rows)) + at[-1])
        pull = -sign * weight / (1.0 + np.exp(np.minimum(margin, 700.0)))
        slope = np.bincount(place, value * pull[row], len(columns)) + DECAY * at[:-1]
        point.grad = torch.from_numpy(np.append(slope, pull.sum()))
        return torch.tensor(float(weight @ np.logaddexp(0.0, -margin) + DECAY / 2 * at[:-1] @ at[:-1]))

    search = torch.optim.LBFGS([point], max_iter=STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-4)
    search.step(loss)  # type: ignore[no-untyped-call]
    found = point.detach().numpy()
    weights = np.zeros(1 << BITS)
    weights[columns] = found[:-1]
    return write_classifier(weights.tolist(), float(found[-1]))


def held_out_scores(job: Job, rows: Sequence[Row], indices: Sequence[np.ndarray], seed: int) -> list[float]:
    """The score of every row by a classifier that learnt from none of its group."""
    groups = [row.group or latin(row.prompt) for row in rows]
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    fold = {group: at % FOLDS for at, group in enumerate(names)}
    scores = [0.0] * len(rows)
    for number in range(FOLDS):
        job.progress(number, FOLDS, "folds")
        inside = [at for at, group in enumerate(groups) if fold[group] != number]
        judge = read_classifier(learnt([rows[at] for at in inside], [indices[at] for at in inside]))
        for at, group in enumerate(groups):
            if fold[group] == number:
                scores[at] = judge.score(rows[at].prompt)
    return scores


def report_shares(
    job: Job, rows: Sequence[Row], scores: Sequence[float], threshold: float
) -> dict[str, dict[str, float]]:
    """Leave the shares as evidence, of all rows (the slice '') and of every slice."""
    shares: dict[str, dict[str, float]] = {"refuse": {}, "allow": {}}
    for label, metric in (("refuse", "guard_block_share"), ("allow", "guard_false_block_share")):
        mine = [(row.slice, score >= threshold) for row, score in zip(rows, scores, strict=True) if row.label == label]
        for slice in sorted({"", *(slice for slice, _ in mine)}):
            hits = [hit for where, hit in mine if slice in ("", where)]
            shares[label][slice] = sum(hits) / len(hits)
            interval = wilson(sum(hits), len(hits))
            job.measure(metric, shares[label][slice], "share", about="out", n=len(hits), interval=interval, slice=slice)
    return shares
