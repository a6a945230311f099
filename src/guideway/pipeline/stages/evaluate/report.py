"""The report of an evaluation: for machines, and a short one for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guideway.core.evidence import Interval
from guideway.pipeline.stages.evaluate.slices import Slice

SHOWN = 8
"""Right answers, and wrong ones, that the report shows of each split."""
NAMES = {"train": "trained", "compress": "compressed"}


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
    plain = [
        {
            "split": report.split,
            "rows": report.rows,
            "figures": [_plain(one) for one in report.figures],
            "answers": [one._asdict() for one in report.shown if one.about == ships],
        }
        for report in reports
    ]
    whole = {
        "ships": ships,
        "splits": plain,
        "slices": [_plain(one) for one in further.slices],
        "robustness": {kind: _plain(one) for kind, one in further.robustness},
        "undamaged": {further.scored: further.undamaged} if further.scored else {},
    }
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"# Evaluation\n\nThe {NAMES[ships]} model ships.\n"]
    lines += [line for report in reports for line in _split_lines(report, ships)]
    lines += [*_slice_lines(further.slices), *_damage_lines(further)]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _split_lines(report: SplitReport, ships: str) -> list[str]:
    lines = [
        f"## {report.split} ({report.rows} rows)\n",
        "| figure | model | value | 95 % interval | n |",
        "|---|---|---|---|---|",
    ]
    for one in report.figures:
        interval = _around(one)
        unit = f" {one.unit}" if one.unit else ""
        lines.append(f"| {one.metric} | {NAMES[one.about]} | {one.value:.4g}{unit} | {interval} | {one.n} |")
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
        *(f"| {_cell(one.name)} | {one.score:.4g} | {_around(one)} | {one.rows} | {_said(one)} |" for one in slices),
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
    return [*head, *(f"| {kind} | {one.value:.4g} | {_around(one)} | {one.n} |" for kind, one in drops), ""]


def _around(one: Figure | Slice) -> str:
    return f"{one.interval.low:.4g} to {one.interval.high:.4g}"


def _plain(one: Figure | Slice) -> dict[str, Any]:
    return {**one._asdict(), "interval": msgspec.to_builtins(one.interval)}


def _answer_lines(chosen: Iterable[Shown]) -> list[str]:
    return ["| " + " | ".join(_cell(text) for text in (one.asked, one.said, one.wanted)) + " |" for one in chosen]


def _cell(text: str) -> str:
    short = " ".join(text.split())
    return (short[:77] + "..." if len(short) > 80 else short).replace("|", "\\|")
