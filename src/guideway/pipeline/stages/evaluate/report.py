"""The report of an evaluation: for machines, and a short one for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from guideway.core.evidence import Interval

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


def write_report(out: Path, reports: Sequence[SplitReport], ships: str) -> None:
    """Write ``report.json`` and ``report.md`` to *out*; *ships* is the stage whose model ships."""
    plain = [
        {
            "split": report.split,
            "rows": report.rows,
            "figures": [{**one._asdict(), "interval": msgspec.to_builtins(one.interval)} for one in report.figures],
            "answers": [one._asdict() for one in report.shown if one.about == ships],
        }
        for report in reports
    ]
    text = json.dumps({"ships": ships, "splits": plain}, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"# Evaluation\n\nThe {NAMES[ships]} model ships.\n"]
    lines += [line for report in reports for line in _split_lines(report, ships)]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _split_lines(report: SplitReport, ships: str) -> list[str]:
    lines = [
        f"## {report.split} ({report.rows} rows)\n",
        "| figure | model | value | 95 % interval | n |",
        "|---|---|---|---|---|",
    ]
    for one in report.figures:
        interval = f"{one.interval.low:.4g} to {one.interval.high:.4g}"
        unit = f" {one.unit}" if one.unit else ""
        lines.append(f"| {one.metric} | {NAMES[one.about]} | {one.value:.4g}{unit} | {interval} | {one.n} |")
    own = [one for one in report.shown if one.about == ships]
    for title, right in (("Right", True), ("Wrong", False)):
        chosen = [one for one in own if one.right is right][:SHOWN]
        if chosen:
            lines += [f"\n{title}:\n", "| question | answer | right answer |", "|---|---|---|", *_answer_lines(chosen)]
    return [*lines, ""]


def _answer_lines(chosen: Iterable[Shown]) -> list[str]:
    return ["| " + " | ".join(_cell(text) for text in (one.asked, one.said, one.wanted)) + " |" for one in chosen]


def _cell(text: str) -> str:
    short = " ".join(text.split())
    return (short[:77] + "..." if len(short) > 80 else short).replace("|", "\\|")
