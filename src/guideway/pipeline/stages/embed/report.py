"""The report of an evaluation of embeddings: for machines, and a short one for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.pipeline.stages.classify.scores import Score
from guideway.pipeline.stages.embed.rows import Corpus
from guideway.pipeline.stages.evaluate.report import NAMES

SHOWN = 10
"""Questions that the report for people shows."""
SHORT = 160
"""Characters of a text in the report for people."""


class Missed(msgspec.Struct, frozen=True):
    """A question whose first passage is not right; ``rank`` is where the first right one stands."""

    question: str
    found: str
    right: str
    rank: int


class SplitReport(msgspec.Struct):
    """All that is known of one split. ``figures`` are by the stage that made the model."""

    split: str
    rows: int
    figures: dict[str, list[Score]] = {}
    missed: list[Missed] = []


def write_report(out: Path, reports: Sequence[SplitReport], corpus: Corpus) -> None:
    """Write ``report.json`` and ``report.md`` to *out*."""
    plain = {
        "ships": "compress",
        "passages": {"searched": len(corpus.passages), "all": corpus.all},
        "splits": [_plain(report) for report in reports],
    }
    text = json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    lines = [f"# Evaluation\n\nThe {NAMES['compress']} model ships. {len(corpus.passages):,} passages were searched.\n"]
    lines += [line for report in reports for line in _split_lines(report)]
    (out / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _plain(report: SplitReport) -> dict[str, Any]:
    return {
        "split": report.split,
        "rows": report.rows,
        "figures": [{"about": about, **_score(one)} for about, found in report.figures.items() for one in found],
        "missed": msgspec.to_builtins(report.missed),
    }


def _score(score: Score) -> dict[str, Any]:
    return {**score._asdict(), "interval": msgspec.to_builtins(score.interval)}


def _split_lines(report: SplitReport) -> list[str]:
    lines = [f"## {report.split} ({report.rows} questions)\n"]
    lines += ["| figure | model | value | 95 % interval | n |", "|---|---|---|---|---|"]
    for about, found in report.figures.items():
        for one in found:
            around = f"{one.interval.low:.4g} to {one.interval.high:.4g}"
            lines.append(f"| {one.metric} | {NAMES[about]} | {one.value:.4g} | {around} | {one.n} |")
    if report.missed:
        lines += ["\nWhat is found last:\n", "| question | rank | found instead | right |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(one.question)} | {one.rank} | {_cell(one.found)} | {_cell(one.right)} |"
            for one in report.missed[:SHOWN]
        ]
    return [*lines, ""]


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= SHORT else f"{line[: SHORT - 1]}…").replace("|", "\\|")
