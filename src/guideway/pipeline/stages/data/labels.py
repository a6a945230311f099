"""The labels of a data set: what makes them unusable, what the manifest says of them, and the evidence."""

from __future__ import annotations

from typing import Any

from guideway.core.errors import GuidewayError, SpecError, did_you_mean
from guideway.core.protocols import Job
from guideway.pipeline.stages.data.sort import Tally
from guideway.pipeline.stages.data.split import TRAIN


def check_labels(tally: Tally) -> None:
    """Refuse labels from which no classifier can be learnt or judged.

    Raises:
        SpecError: no row has the label that is out of scope.
        GuidewayError: there are fewer than two classes, or a held-out label that no training row has.
    """
    outside, classes = tally.data.out_of_scope, tally.classes
    if outside and outside not in tally.labels:
        advice = did_you_mean(outside, tally.labels)
        raise SpecError(f"no row has the label '{outside}'", where="data.out_of_scope", try_this=advice)
    if len(classes) < 2:
        only = f"only the class '{classes[0]}'" if classes else "no class"
        raise GuidewayError(
            f"the training rows have {only}",
            where="data.label",
            try_this="two classes are the least; mend data.label, or the splits",
        )
    unknown = sorted({*tally.labels} - {*classes, outside})
    if unknown:
        where = next(name for name in tally.data.splits if tally.labels[unknown[0]][name])
        raise GuidewayError(
            f"the label '{unknown[0]}' is held out in '{where}', and no training row has it",
            where=f"data.splits.{where}",
            try_this="hold out less, or name it in data.out_of_scope",
        )


def about_labels(tally: Tally) -> dict[str, Any]:
    """The part of the manifest: the classes to learn, and the rows of every label in every split."""
    names = (TRAIN, *tally.data.splits)
    return {
        "classes": tally.classes,
        "out_of_scope": tally.data.out_of_scope or None,
        "labels": {label: {name: rows[name] for name in names} for label, rows in sorted(tally.labels.items())},
        "conflicting_labels": tally.conflicts,
    }


def report_labels(job: Job, tally: Tally) -> None:
    """Leave the evidence: how many classes, how small the smallest is, and how many texts have two labels."""
    if tally.imported:
        job.measure("classes", len(tally.classes), "classes", about="out", n=tally.counts["kept"])
        return
    sizes = {label: tally.labels[label][TRAIN] for label in tally.classes}
    smallest, kept = min(sizes, key=lambda label: (sizes[label], label)), tally.counts["kept"]
    job.measure("classes", len(sizes), "classes", about="out", n=sum(sizes.values()))
    job.measure("smallest_class", sizes[smallest], "rows", about="out", n=sum(sizes.values()))
    job.measure("conflicting_labels", tally.conflicts / kept, "share", about="out", n=kept)
    job.fact(f"{len(sizes)} classes; the smallest, '{smallest}', has {sizes[smallest]:,} rows to learn from")
