"""What reports of several stages share: how figures are told to machines and to people, how files are written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from guideway.core.evidence import Interval

NAMES = {"train": "trained", "compress": "compressed"}
"""How people are told a model, by the stage that made it."""


class Scored(Protocol):
    """A named tuple that tells one figure over ``n`` rows."""

    @property
    def metric(self) -> str:
        """What it is."""

    @property
    def value(self) -> float:
        """How much it is."""

    @property
    def unit(self) -> str:
        """Of what; empty: it has no unit."""

    @property
    def n(self) -> int:
        """Rows."""

    @property
    def interval(self) -> Interval:
        """Where the true value lies."""


class Told(Protocol):
    """A named tuple with an interval."""

    @property
    def interval(self) -> Interval | None:
        """Where the true value lies; None: that is not known."""

    def _asdict(self) -> dict[str, Any]: ...


def write_files(out: Path, whole: Any, pages: Mapping[str, Sequence[str]]) -> None:
    """Write *whole* as ``report.json`` to *out*, and the lines of each of *pages*, which are by the names of files."""
    text = json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    for name, lines in pages.items():
        (out / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def plain(one: Told) -> dict[str, Any]:
    """The fields of *one* as JSON has them."""
    return {**one._asdict(), "interval": msgspec.to_builtins(one.interval)}


def around(interval: Interval) -> str:
    """Both ends of *interval*."""
    return f"{interval.low:.4g} to {interval.high:.4g}"


def figure_table(figures: Iterable[tuple[str, Scored]]) -> list[str]:
    """The lines of a table of figures, each about the model that was made by the stage before it."""
    lines = ["| figure | model | value | 95 % interval | n |", "|---|---|---|---|---|"]
    for about, one in figures:
        unit = f" {one.unit}" if one.unit else ""
        lines.append(f"| {one.metric} | {NAMES[about]} | {one.value:.4g}{unit} | {around(one.interval)} | {one.n} |")
    return lines


def cell(text: str, most: int | None = 80, end: str = "...") -> str:
    """*text* as a cell of a table: one line of at most so many characters, *end* among them where it was cut."""
    line = " ".join(text.split())
    short = line if most is None or len(line) <= most else line[: most - len(end)] + end
    return short.replace("|", "\\|")
