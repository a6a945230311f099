"""Learn where the texts of each class lie, as the exported model sees them, and how far off ordinary ones are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.classify.rows import Case, cases_of
from guideway.pipeline.stages.classify.shipped import Shipped
from guideway.pipeline.stages.examples import rows_of
from guideway.replica.meaning import Features, Meaning

Floats = NDArray[np.float64]
MOST, LEAST = 20_000, 100
"""Rows that are computed, of each kind; and of a class, however many classes there are."""


def learn_meaning(job: Job, shipped: Shipped, strictest: float) -> None:
    """Write what tells outliers by meaning beside the exported model *shipped*, and leave the evidence about it.

    Classes are learnt from the training rows, distances from validation rows in scope: what the encoder was trained
    on lies closer than what is ordinary.

    Raises:
        GuidewayError: there are too few validation rows for a share as rare as *strictest*.
    """
    data, split = job.inputs["data"], job.params["validation"]
    known, held = (_in_scope(data / f"{name}.jsonl", shipped) for name in ("train", split))
    known, held = of_each(known, MOST // len(shipped.settings.labels)), held[:MOST]
    _check_enough(len(held), strictest, split)
    meaning = fitted(shipped.features(known), [case.target for case in known])
    meaning.calibrated(shipped.features(held)).write(job.out)
    job.measure("drift_reference_rows", len(known), "rows", about="data", n=len(known), source="out")
    job.fact(f"outliers by meaning: {len(known):,} rows learnt, {len(held):,} of {split} say how far is ordinary")


def _in_scope(path: Path, shipped: Shipped) -> list[Case]:
    """The rows of *path* that belong to a class, in the order of their ids, which is as good as random."""
    rows = sorted(rows_of(path), key=lambda row: str(row["id"]))
    return [case for case in cases_of(rows, shipped.reader, shipped.settings.labels) if case.target >= 0]


def of_each(cases: Sequence[Case], most: int) -> list[Case]:
    """The first *cases* of each class: *most*, but a hundred if it has so many."""
    found: Counter[int] = Counter()
    kept = []
    for case in cases:
        found[case.target] += 1
        if found[case.target] <= max(most, LEAST):
            kept.append(case)
    return kept


def fitted(features: Features, targets: Sequence[int]) -> Meaning:
    """The classes *targets* [rows] of *features* [rows, width], and how they spread; nothing is calibrated yet."""
    wide, classes = features.astype(np.float64), np.unique(targets)
    places = np.searchsorted(classes, targets)
    middle = np.stack([wide[places == number].mean(axis=0) for number in range(len(classes))])
    whitening = np.linalg.inv(np.linalg.cholesky(shrunk(wide - middle[places]))).T
    return Meaning(whitening.astype(np.float32), (middle @ whitening).astype(np.float32), np.empty(0))


def shrunk(centred: Floats) -> Floats:
    """The covariance of *centred* [rows, width], drawn to a sphere as far as Ledoit and Wolf 2004 say.

    So it can be inverted, however few rows there are; where all rows are one point, it is a sphere of any size.
    """
    rows, width = centred.shape
    plain = centred.T @ centred / rows
    level = float(np.trace(plain)) / width
    ball = level * np.eye(width)
    away = float(np.square(plain - ball).sum())
    if not away:
        return ball if level else np.eye(width)
    noise = float((np.square(centred).T @ np.square(centred) / rows - np.square(plain)).sum()) / rows
    by = min(1.0, max(noise / away, 1e-6))
    return np.asarray(by * ball + (1.0 - by) * plain)


def _check_enough(held: int, strictest: float, split: str) -> None:
    needed = math.ceil(1.0 / (1.0 - strictest) - 1e-9) - 1
    if held < needed:
        most = 1.0 - 1.0 / (held + 1)
        raise GuidewayError(
            f"{held:,} rows of '{split}' in scope cannot tell a share of {strictest:g}: that needs {needed:,}",
            where="serve.guardrails.outlier",
            try_this=f"ask for {math.floor(most * 1e4) / 1e4:g} at most, or hold out more in '{split}'",
        )
