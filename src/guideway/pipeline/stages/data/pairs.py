"""The rows of a data set for embeddings: what makes them unusable, what the manifest says of them, the evidence."""

from __future__ import annotations

from typing import Any

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.data.sort import Tally
from guideway.pipeline.stages.data.split import TRAIN


def check_pairs(tally: Tally) -> None:
    """Refuse rows from which nothing can be told apart.

    Raises:
        GuidewayError: some rows are pairs and others have labels, or there are too few of them.
    """
    if not tally.labels:
        if tally.rows[TRAIN] < 2:
            raise GuidewayError(
                "one pair is left to train on", where="data.splits", try_this="two are the least; hold out less"
            )
        return
    if sum(rows.total() for rows in tally.labels.values()) != tally.counts["kept"]:
        raise GuidewayError(
            "some rows are pairs, and others are texts with labels",
            where="data.sources",
            try_this=f"keep one of the two; '{tally.data.prompt}' and '{tally.data.response}' make a pair",
        )
    if len(_usable(tally)) < 2:
        raise GuidewayError(
            "fewer than two labels have two training rows or more",
            where="data.label",
            try_this="texts of one label learn to stand together; mend data.label, or the splits",
        )


def about_pairs(tally: Tally) -> dict[str, Any]:
    """The part of the manifest: whether rows are pairs, or else the rows of every label in every split."""
    names = (TRAIN, *tally.data.splits)
    labels = {label: {name: rows[name] for name in names} for label, rows in sorted(tally.labels.items())}
    return {"pairs": not labels, "labels": labels}


def report_pairs(job: Job, tally: Tally) -> None:
    """Leave the evidence: how many rows there are to learn from, and of how many labels."""
    n = tally.rows[TRAIN]
    if not tally.labels:
        job.measure("pairs", n, "rows", about="out", n=n)
        return
    usable = _usable(tally)
    job.measure("classes", len(usable), "classes", about="out", n=n)
    job.fact(f"{len(usable)} labels with two training rows or more")


def _usable(tally: Tally) -> list[str]:
    return [label for label, rows in tally.labels.items() if rows[TRAIN] > 1]
