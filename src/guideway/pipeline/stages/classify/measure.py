"""Evaluate a classifier: both models and the baseline on the same rows, each figure with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from guideway.core.evidence import Interval
from guideway.core.outliers import is_beyond
from guideway.core.protocols import Job
from guideway.pipeline.stages.classify import scores
from guideway.pipeline.stages.classify.baseline import Baseline
from guideway.pipeline.stages.classify.compress import threshold_of
from guideway.pipeline.stages.classify.folds import cross_validated
from guideway.pipeline.stages.classify.model import load_classifier, probabilities
from guideway.pipeline.stages.classify.report import SplitReport, Wrong, write_report
from guideway.pipeline.stages.classify.rows import Case, cases_of, sample_of
from guideway.pipeline.stages.classify.scores import Bools, Floats, Ints, Score, share
from guideway.pipeline.stages.classify.shipped import Shipped
from guideway.pipeline.stages.evaluate.splits import split_names
from guideway.pipeline.stages.examples import rows_of
from guideway.replica.classifier import Probabilities

CONFUSIONS = 10
"""Pairs of classes in the report."""


def measure(job: Job) -> None:
    """Leave the figures of every split as evidence, and write the report."""
    bench, names = _Bench(job), split_names(job.inputs["data"])
    reports = []
    for number, name in enumerate(names):
        job.progress(number, len(names) + 1, name)
        reports.append(bench.split(name))
    for report in reports:
        _leave(job, report)
    job.progress(len(names), len(names) + 1, "cross-validation")
    more = [] if bench.shipped.settings.octets else cross_validated(job, bench.known, bench.shipped.settings.labels)
    for about, score in more:
        job.measure(score.metric, score.value, score.unit, about=about, n=score.n, interval=score.interval)
    if not names:
        job.fact("no split is held out, so nothing was measured")
    write_report(job.out, reports, more, "compress")


class _Bench:
    """Both models with their thresholds, and the baseline."""

    def __init__(self, job: Job) -> None:
        self._data, self._examples, self._seed = job.inputs["data"], job.params["examples"], job.params["seed"]
        self._ordinary: float | None = job.params.get("ordinary")
        self.shipped = Shipped(job.inputs["compress"])
        self._trained = None if self.shipped.settings.octets else load_classifier(job.inputs["train"])
        job.progress(0, 1, "the baseline learns")
        train = self._cases(rows_of(self._data / "train.jsonl"))
        self.known = [case for case in train if case.target >= 0]
        self._baseline = self._learnt()
        self._thresholds = {"train": self._of_trained(job), "compress": self.shipped.settings.threshold}

    def _learnt(self) -> Baseline | None:
        """The baseline; None: words say nothing of bytes, or there are no rows that it could learn from."""
        if self._trained is None or not self.known:
            return None
        return Baseline([case.text for case in self.known], _targets(self.known))

    def split(self, name: str) -> SplitReport:
        """Every figure of one split."""
        cases = self._cases(sample_of(self._data / f"{name}.jsonl", self._examples))
        report = SplitReport(name, len(cases))
        inside = np.array([case.target >= 0 for case in cases], dtype=bool)
        targets = _targets(cases)[inside]
        within = [case for case in cases if case.target >= 0]
        said = self._baseline.classes([case.text for case in within]) if self._baseline and within else None
        for about in ("train", "compress"):
            found = self._ask(about, cases)
            report.figures[about] = self._figures(found[inside], targets, said) if inside.any() else []
            report.figures[about] += _out_of_scope(found, inside, self._thresholds[about])
            report.figures[about].append(_broken(found))
        report.figures["compress"] += self._outliers(cases, inside)
        if inside.any():
            labels, best = self.shipped.settings.labels, found[inside].argmax(axis=1)
            report.classes = scores.of_classes(targets, best, labels)
            report.confusions = scores.confusions(targets, best, labels, CONFUSIONS)
        report.wrong = self._wrong(cases, found)
        return report

    def _ask(self, about: str, cases: Sequence[Case]) -> Probabilities:
        if about == "compress" or self._trained is None:  # a graph ships as it came
            return self.shipped.probabilities(cases)
        return probabilities(self._trained, cases)

    def _figures(self, found: Probabilities, targets: Ints, said: Ints | None) -> list[Score]:
        """Of rows that belong to a class; the threshold plays no part here."""
        best, n = found.argmax(axis=1), len(targets)
        right: Bools = best == targets
        hits = int(right.sum())
        wide: Floats = found.astype(np.float64)
        own = [
            share("accuracy", hits, n),
            share("error_rate", n - hits, n),
            scores.macro_f1(targets, best, found.shape[1], self._seed),
            scores.log_loss(wide, targets, self._seed),
            scores.calibration_error(wide.max(axis=1), right, self._seed),
        ]
        return own if said is None else [*own, *self._beside(right, said == targets)]

    def _beside(self, right: Bools, baseline: Bools) -> list[Score]:
        """How the baseline does on the same rows."""
        n, theirs = len(right), int(baseline.sum())
        return [
            share("baseline_accuracy", theirs, n),
            share("baseline_error_rate", n - theirs, n),
            scores.paired_difference(right, baseline, self._seed),
            Score("mcnemar_p", scores.mcnemar(right, baseline), "probability", n, _exact(right, baseline)),
        ]

    def _outliers(self, cases: Sequence[Case], inside: Bools) -> list[Score]:
        """The shares beyond the rarest bound for outliers: of rows in scope, and of rows out of it."""
        ordinary = self._ordinary
        shares = self.shipped.shares(cases) if ordinary is not None and cases else None
        if shares is None or ordinary is None:
            return []
        beyond = np.array([is_beyond(float(one), ordinary) for one in shares], dtype=bool)
        figures = (("outlier_share", inside), ("outlier_recall", ~inside))
        return [share(metric, int(beyond[rows].sum()), int(rows.sum())) for metric, rows in figures if rows.any()]

    def _wrong(self, cases: Sequence[Case], found: Probabilities) -> list[Wrong]:
        settings = self.shipped.settings
        said = [settings.label_of(row) for row in found]
        return [
            Wrong(case.text, case.label, label, round(float(row.max()), 4))
            for case, label, row in zip(cases, said, found, strict=True)
            if label != case.label
        ]

    def _of_trained(self, job: Job) -> float:
        """The threshold that the trained model would have: chosen as that of what ships, on the same rows."""
        split = job.params["validation"]
        if self._trained is None or not (self.shipped.settings.out_of_scope and split):
            return 0.0
        cases = self._cases(rows_of(self._data / f"{split}.jsonl"))
        return threshold_of(probabilities(self._trained, cases), cases)

    def _cases(self, rows: Any) -> list[Case]:
        return cases_of(rows, self.shipped.reader, self.shipped.settings.labels)


def _targets(cases: Sequence[Case]) -> Ints:
    return np.array([case.target for case in cases], dtype=np.int64)


def _out_of_scope(found: Probabilities, inside: Bools, threshold: float) -> list[Score]:
    """What the threshold does: found of what belongs to no class, right of what was refused, refused of the others."""
    refused = found.max(axis=1) < threshold
    both, outside = int((refused & ~inside).sum()), int((~inside).sum())
    if not outside or not threshold:
        return []
    wrongly = int((refused & inside).sum())
    return [
        share("out_of_scope_recall", both, outside),
        share("out_of_scope_precision", both, int(refused.sum())),
        share("in_scope_refused", wrongly, int(inside.sum())),
    ]


def _leave_floor(job: Job, report: SplitReport) -> None:
    """How many classes of what ships are found less often than the spec asks for."""
    floor = job.params["class_floor"]
    if not floor or not report.classes:
        return
    below = [each.label for each in report.classes if each.recall.value < floor]
    n, split = len(report.classes), report.split
    job.measure("slices_below_floor", len(below), "classes", about="compress", n=n, slice=split)
    if below:
        job.fact(f"{len(below)} of {n} classes are found in less than {floor:.0%} on {split}: {', '.join(below[:5])}")


def _broken(found: Probabilities) -> Score:
    broken = int((~np.isfinite(found).all(axis=1)).sum())
    return share("non_finite_outputs", broken, len(found))._replace(value=float(broken), unit="rows")


def _exact(ours: Bools, theirs: Bools) -> Interval:
    """A probability that was computed and not estimated."""
    value = scores.mcnemar(ours, theirs)
    return Interval(value, value, 1.0, "exact")


def _leave(job: Job, report: SplitReport) -> None:
    """Leave every figure as evidence: of a split, and of what ships also by class; and what people want as facts."""
    for about, figures in report.figures.items():
        for one in figures:
            if not math.isnan(one.value):
                job.measure(
                    one.metric, one.value, one.unit, about=about, n=one.n, interval=one.interval, slice=report.split
                )
    _leave_floor(job, report)
    for each in report.classes:
        for one in (each.recall, each.precision):
            if one.n:
                where = f"{report.split}/{each.label}"
                job.measure(
                    one.metric, one.value, one.unit, about="compress", n=one.n, interval=one.interval, slice=where
                )
    ships = {one.metric: one.value for one in report.figures["compress"]}
    if "accuracy" in ships:
        beside = [
            f"{what} {ships[metric]:.1%}"
            for metric, what in (("baseline_accuracy", "TF-IDF and logistic regression"),)
            if metric in ships
        ]
        job.fact(f"accuracy {ships['accuracy']:.1%} on {report.split}" + (f" ({', '.join(beside)})" if beside else ""))
    if "out_of_scope_recall" in ships:
        job.fact(f"finds {ships['out_of_scope_recall']:.1%} of what is out of scope on {report.split}")
    if "outlier_share" in ships:
        found = f", {ships['outlier_recall']:.1%} of what is out of scope" if "outlier_recall" in ships else ""
        job.fact(f"outliers: {ships['outlier_share']:.1%} of rows in scope{found} on {report.split}")
