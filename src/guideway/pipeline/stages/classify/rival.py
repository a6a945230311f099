"""Another release on the same rows: who is right more often, and is that more than chance?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guideway.core.evidence import Interval
from guideway.pipeline.stages.classify import scores
from guideway.pipeline.stages.classify.rows import Case, cases_of
from guideway.pipeline.stages.classify.scores import Bools, Score
from guideway.pipeline.stages.classify.shipped import Shipped


class Rival:
    """The release in *folder*, which may have other classes and another input than ours."""

    def __init__(self, folder: Path) -> None:
        self._shipped = Shipped(folder)

    def right(self, cases: Sequence[Case]) -> Bools:
        """Which of *cases* it names rightly: a class that it does not have, it cannot name."""
        labels = self._shipped.settings.labels
        rows = [{"text": case.text, "label": case.label} for case in cases]
        own = cases_of(rows, self._shipped.reader, labels)
        best = self._shipped.probabilities(own).argmax(axis=1)
        return np.array([labels[number] == case.label for number, case in zip(best, cases, strict=True)], dtype=bool)


def compared(ours: Bools, theirs: Bools, seed: int) -> list[Score]:
    """How often *theirs* is right on the rows of *ours*, the difference in pairs, and McNemar's test of it."""
    n, hits, p = len(ours), int(theirs.sum()), scores.mcnemar(ours, theirs)
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return [
        scores.share("rival_accuracy", hits, n),
        scores.paired_difference(ours, theirs, seed)._replace(metric="accuracy_over_rival"),
        Score("rival_mcnemar_p", p, "probability", n, Interval(p, p, 1.0, "exact")),
        scores.share("right_where_rival_is_wrong", only_ours, n),
        scores.share("wrong_where_rival_is_right", only_theirs, n),
    ]
