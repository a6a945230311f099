"""Two releases that name classes: who is right, row by row, as they serve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guideway.pipeline.stages.against.report import Compared
from guideway.pipeline.stages.classify.rows import cases_of
from guideway.pipeline.stages.classify.scores import Bools, mcnemar, paired_difference
from guideway.pipeline.stages.classify.shipped import Shipped


def compare_classes(
    split: str, rows: Sequence[Mapping[str, Any]], ours: Path, theirs: Path, seed: int
) -> list[Compared]:
    """What the classifier in *ours* gains over that in *theirs*; what it says of rows of no class counts too."""
    own, other = _right(Shipped(ours), rows), _right(Shipped(theirs), rows)
    gain, p = paired_difference(own, other, seed), mcnemar(own, other)
    return [
        Compared(
            "serving_accuracy_gain",
            split,
            float(own.mean()),
            float(other.mean()),
            gain.value,
            "share",
            len(rows),
            gain.interval,
            p,
        )
    ]


def _right(model: Shipped, rows: Sequence[Mapping[str, Any]]) -> Bools:
    cases = cases_of(rows, model.reader, model.settings.labels)
    said = [model.settings.label_of(one) for one in model.probabilities(cases)]
    return np.array([label == case.label for label, case in zip(said, cases, strict=True)], dtype=np.bool_)
