"""Cross-validation on the training rows: of the baseline always, of the model where the spec asks for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.core.spec import Train
from guideway.pipeline.stages.choose import settings as chosen
from guideway.pipeline.stages.classify.baseline import FOLDS, Folds, cross_validate, fold_judge
from guideway.pipeline.stages.classify.learn import loop, start
from guideway.pipeline.stages.classify.model import probabilities
from guideway.pipeline.stages.classify.rows import Case
from guideway.pipeline.stages.classify.scores import Ints, Score, share
from guideway.pipeline.stages.intervals import LEVEL, Z


def cross_validated(job: Job, cases: Sequence[Case], labels: Sequence[str]) -> list[tuple[str, Score]]:
    """Accuracy in folds, and how far folds are apart, by the stage that the figures are about."""
    targets, seed = np.array([case.target for case in cases], dtype=np.int64), job.params["seed"]

    def say(done: float) -> None:
        job.progress(done, 1, f"cross-validation {done:.0%}")

    judge = fold_judge([case.text for case in cases], targets)
    found = _scores("baseline_", cross_validate(targets, FOLDS, seed, judge, say))
    scores = [("train", one) for one in found]
    if job.params["folds"] > 1:
        model = _Judge(job, cases, len(labels))
        own = _scores("", cross_validate(targets, job.params["folds"], seed, model, say))
        scores += [("train", one) for one in own]
    return scores


class _Judge:
    """Trains the model anew for every fold, as stage train does, without watching it."""

    def __init__(self, job: Job, cases: Sequence[Case], classes: int) -> None:
        self._train: Train = msgspec.structs.replace(chosen(job, job.params["train"]), patience=None)
        self._base, self._cases, self._classes = job.root / str(self._train.base), cases, classes
        self._progress = job.progress

    def __call__(self, inside: Ints, outside: Ints) -> Ints:
        chosen = [self._cases[row] for row in inside]
        started = start(self._base, chosen, self._classes, self._train, self._progress)
        loop(started, chosen, (), self._train, checkpoints=None, progress=self._progress).run()
        model = started.model.eval().cpu()
        return np.asarray(probabilities(model, [self._cases[row] for row in outside]).argmax(axis=1))


def _scores(prefix: str, folds: Folds | None) -> list[Score]:
    if folds is None:
        return []
    count = len(folds.accuracies)
    half = Z * folds.spread / (2 * (count - 1)) ** 0.5  # of a standard deviation, as for a normal sample
    around = Interval(max(0.0, folds.spread - half), folds.spread + half, LEVEL, "normal")
    return [
        share(f"{prefix}cross_validated_accuracy", folds.right, folds.rows),
        Score(f"{prefix}cross_validated_spread", folds.spread, "share", count, around),
    ]
