"""The report of a classifier's evaluation: for machines, and a short one for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.pipeline.stages.classify.scores import Confusion, OfClass, Score
from guideway.pipeline.stages.reporting import NAMES, cell, figure_table, plain, write_files

WORST = 10
"""Classes that the report for people shows."""


class Wrong(msgspec.Struct, frozen=True):
    """One row that the shipped model got wrong. ``said`` is what it says with its threshold."""

    text: str
    label: str
    said: str
    score: float


class SplitReport(msgspec.Struct):
    """All that is known of one split. ``figures`` are by the stage that made the model."""

    split: str
    rows: int
    figures: dict[str, list[Score]] = {}
    classes: list[OfClass] = []
    confusions: list[Confusion] = []
    wrong: list[Wrong] = []


def write_report(out: Path, reports: Sequence[SplitReport], more: Sequence[tuple[str, Score]], ships: str) -> None:
    """Write ``report.json`` and ``report.md`` to *out*; *more* are figures of no split, and *ships* is what ships."""
    whole = {
        "ships": ships,
        "splits": [_plain(report) for report in reports],
        "cross_validation": [{"about": about, **_score(score)} for about, score in more],
    }
    lines = [f"# Evaluation\n\nThe {NAMES[ships]} model ships.\n"]
    lines += [line for report in reports for line in _split_lines(report)]
    if more:
        lines += ["## Cross-validation on the training rows\n", *figure_table(more)]
    write_files(out, whole, {"report.md": lines})


def _plain(report: SplitReport) -> dict[str, Any]:
    return {
        "split": report.split,
        "rows": report.rows,
        "figures": [{"about": about, **_score(one)} for about, scores in report.figures.items() for one in scores],
        "classes": [
            {"label": one.label, "recall": _score(one.recall), "precision": _score(one.precision)}
            for one in report.classes
        ],
        "confusions": [one._asdict() for one in report.confusions],
        "wrong": msgspec.to_builtins(report.wrong),
    }


def _score(score: Score) -> dict[str, Any]:
    value = score.value if score.value == score.value else None  # JSON has no NaN
    return {**plain(score), "value": value}


def _split_lines(report: SplitReport) -> list[str]:
    figures = [(about, one) for about, scores in report.figures.items() for one in scores]
    lines = [f"## {report.split} ({report.rows} rows)\n", *figure_table(figures)]
    worst = sorted(report.classes, key=lambda one: (one.recall.value, one.label))[:WORST]
    lines += ["\nThe classes that are found least often:\n", "| class | recall | precision | n |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(one.label)} | {_said(one.recall)} | {_said(one.precision)} | {one.recall.n} |" for one in worst
    ]
    if report.confusions:
        lines += ["\nConfused most often:\n", "| class | taken for | rows |", "|---|---|---|"]
        lines += [f"| {_cell(one.label)} | {_cell(one.said)} | {one.rows} |" for one in report.confusions]
    return [*lines, ""]


def _said(score: Score) -> str:
    return f"{score.value:.2f} ({score.interval.low:.2f} to {score.interval.high:.2f})"


def _cell(text: str) -> str:
    return cell(text, most=None)
