"""The report of an evaluation of embeddings: for machines, and a short one for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.pipeline.stages.classify.scores import Score
from guideway.pipeline.stages.embed.rows import Corpus
from guideway.pipeline.stages.reporting import NAMES, cell, figure_table, plain, write_files

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
    whole = {
        "ships": "compress",
        "passages": {"searched": len(corpus.passages), "all": corpus.all},
        "splits": [_plain(report) for report in reports],
    }
    lines = [f"# Evaluation\n\nThe {NAMES['compress']} model ships. {len(corpus.passages):,} passages were searched.\n"]
    lines += [line for report in reports for line in _split_lines(report)]
    write_files(out, whole, {"report.md": lines})


def _plain(report: SplitReport) -> dict[str, Any]:
    return {
        "split": report.split,
        "rows": report.rows,
        "figures": [{"about": about, **plain(one)} for about, found in report.figures.items() for one in found],
        "missed": msgspec.to_builtins(report.missed),
    }


def _split_lines(report: SplitReport) -> list[str]:
    figures = [(about, one._replace(unit="")) for about, found in report.figures.items() for one in found]
    lines = [f"## {report.split} ({report.rows} questions)\n", *figure_table(figures)]
    if report.missed:
        lines += ["\nWhat is found last:\n", "| question | rank | found instead | right |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(one.question)} | {one.rank} | {_cell(one.found)} | {_cell(one.right)} |"
            for one in report.missed[:SHOWN]
        ]
    return [*lines, ""]


def _cell(text: str) -> str:
    return cell(text, SHORT, "…")
