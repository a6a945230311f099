"""Slices: rows that have the same value in a field, each with its score and the floor that it must keep. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from guideway.core.evidence import Interval
from guideway.core.spec import Slices
from guideway.pipeline.stages.intervals import bootstrap


class Slice(NamedTuple):
    """One slice: its name, mean score, rows, the interval, and whether it is judged and keeps its floor."""

    name: str
    score: float
    rows: int
    interval: Interval
    judged: bool
    kept: bool


def slices_of(rows: Sequence[Mapping[str, Any]], scores: Sequence[float], asked: Slices, seed: int) -> list[Slice]:
    """Every slice of *rows* by the field that *asked* names, the worst first; *scores* are those of the rows."""
    groups: defaultdict[str, list[float]] = defaultdict(list)
    for row, score in zip(rows, scores, strict=True):
        if asked.by in row["fields"]:
            groups[f"{asked.by}={row['fields'][asked.by]}"].append(score)
    return sorted((_slice(name, own, asked, seed) for name, own in groups.items()), key=lambda one: one.score)


def _slice(name: str, scores: Sequence[float], asked: Slices, seed: int) -> Slice:
    mean = sum(scores) / len(scores)
    around = bootstrap(scores, [1] * len(scores), seed)
    return Slice(name, mean, len(scores), around, len(scores) >= asked.least, mean >= asked.floor)
