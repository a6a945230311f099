"""The report of an evaluation: for machines, and a short one for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from guideway.core.evidence import Interval
from guideway.pipeline.stages.evaluate.slices import Slice
from guideway.pipeline.stages.reporting import NAMES, around, cell, figure_table, plain, write_files

SHOWN = 8
"""Right answers, and wrong ones, that the report shows of each split."""


class Figure(NamedTuple):
    """One figure about one model, named by the stage that made it."""

    metric: str
    value: float
    unit: str
    about: str
    n: int
    interval: Interval


class Shown(NamedTuple):
    """One question, what a model said, and what was right."""

    about: str
    asked: str
    said: str
    wanted: str
    right: bool


class SplitReport(msgspec.Struct):
    """All figures of one split, and all answers."""

    split: str
    rows: int
    figures: list[Figure] = []
    shown: list[Shown] = []


class Further(msgspec.Struct):
    """What was measured on all judged splits together, of the model that ships.

    ``undamaged`` is the figure ``scored``, a share, of the prompts that were damaged then.
    """

    slices: list[Slice] = []
    robustness: list[tuple[str, Figure]] = []
    undamaged: float = 0.0
    scored: str = ""


def write_report(out: Path, reports: Sequence[SplitReport], ships: str, further: Further) -> None:
    """Write ``report.json`` and ``report.md`` to *out*; *ships* is the stage whose model ships."""
    splits = [
        {
            "split": report.split,
            "rows": report.rows,
            "figures": [plain(one) for one in report.figures],
            "answers": [one._asdict() for one in report.shown if one.about == ships],
        }
        for report in reports
    ]
    whole = {
        "ships": ships,
        "splits": splits,
        "slices": [plain(one) for one in further.slices],
        "robustness": {kind: plain(one) for kind, one in further.robustness},
        "undamaged": {further.scored: further.undamaged} if further.scored else {},
    }
    lines = [f"# Evaluation\n\nThe {NAMES[ships]} model ships.\n"]
    lines += [line for report in reports for line in _split_lines(report, ships)]
    lines += [*_slice_lines(further.slices), *_damage_lines(further)]
    write_files(out, whole, {"report.md": lines})


def _split_lines(report: SplitReport, ships: str) -> list[str]:
    figures = [(one.about, one) for one in report.figures]
    lines = [f"## {report.split} ({report.rows} rows)\n", *figure_table(figures)]
    own = [one for one in report.shown if one.about == ships]
    for title, right in (("Right", True), ("Wrong", False)):
        chosen = [one for one in own if one.right is right][:SHOWN]
        if chosen:
            lines += [f"\n{title}:\n", "| question | answer | right answer |", "|---|---|---|", *_answer_lines(chosen)]
    return [*lines, ""]


def _slice_lines(slices: Sequence[Slice]) -> list[str]:
    if not slices:
        return []
    head = ["## Slices\n", "| slice | score | 95 % interval | rows | |", "|---|---|---|---|---|"]
    return [
        *head,
        *(
            f"| {cell(one.name)} | {one.score:.4g} | {around(one.interval)} | {one.rows} | {_said(one)} |"
            for one in slices
        ),
        "",
    ]


def _said(one: Slice) -> str:
    if not one.judged:
        return "too few rows"
    return "" if one.kept else "below its floor"


def _damage_lines(further: Further) -> list[str]:
    drops = further.robustness
    if not drops:
        return []
    head = [
        "## Damaged prompts\n",
        f"Undamaged: {further.scored} {further.undamaged:.4g}. A drop of 0.05 is five points of it.\n",
        "| damage | drop | 95 % interval | rows |",
        "|---|---|---|---|",
    ]
    return [*head, *(f"| {kind} | {one.value:.4g} | {around(one.interval)} | {one.n} |" for kind, one in drops), ""]


def _answer_lines(chosen: Iterable[Shown]) -> list[str]:
    return ["| " + " | ".join(cell(text) for text in (one.asked, one.said, one.wanted)) + " |" for one in chosen]
