"""One format for every result: a list of figures with what they must and should reach."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"


class Figure(NamedTuple):
    """One measured figure. ``ok`` is None where nothing was asked for; smaller is better unless ``larger``.

    ``peer`` is None where nobody else could be measured beside it.
    """

    metric: str
    value: float
    unit: str
    must: float | None = None
    aim: float | None = None
    peer: str | None = ""
    note: str = ""
    larger: bool = False

    @property
    def ok(self) -> bool | None:
        """Does it reach what it must?"""
        if self.must is None:
            return None
        return self.value >= self.must if self.larger else self.value <= self.must


def write(name: str, figures: Sequence[Figure]) -> Path:
    """Write ``results/NAME.json`` and print the table."""
    show(figures)
    rows = []
    for one in figures:
        row = one._asdict()
        row.pop("larger")
        rows.append({**row, "value": round(one.value, 4), "ok": one.ok})
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    for one in figures:
        limit = "" if one.must is None else f"must {'≥' if one.larger else '≤'} {one.must:g}"
        mark = {True: "✓", False: "✗", None: " "}[one.ok]
        print(f"{mark} {one.metric:<58} {one.value:10.3f} {one.unit:<6} {limit:<14} {one.note}", flush=True)


def median_seconds(work: Callable[[], object], times: int = 5) -> float:
    """The median duration of *work*."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def quietly(argv: Sequence[str], folder: Path) -> str:
    """Run a command in *folder*; its output. A failure ends the benchmark with what it said."""
    done = subprocess.run(list(argv), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
