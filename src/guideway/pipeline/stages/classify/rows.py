"""Labelled rows as a classifier sees them: token ids, and the number of the class."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from guideway.pipeline.stages.examples import rows_of
from guideway.replica.classifier import Reader

OUTSIDE = -1
"""The number of what belongs to no class."""


class Case(NamedTuple):
    """One text: its token ids, the number of its class (or ``OUTSIDE``), its words and its label."""

    ids: list[int]
    target: int
    text: str
    label: str


def manifest_of(data: Path) -> dict[str, Any]:
    """The manifest in the output of stage data."""
    found: dict[str, Any] = json.loads((data / "manifest.json").read_text(encoding="utf-8"))
    return found


def cases_of(rows: Iterable[Mapping[str, Any]], reader: Reader, classes: Sequence[str]) -> list[Case]:
    """*rows* of a data set as a classifier of *classes* sees them."""
    number = {label: at for at, label in enumerate(classes)}
    return [
        Case(reader.encode(row["text"]), number.get(row["label"], OUTSIDE), row["text"], row["label"]) for row in rows
    ]


def sample_of(path: Path, most: int) -> list[dict[str, Any]]:
    """At most so many rows of *path*: those with the smallest ids, which are digests and so as good as random."""
    return sorted(rows_of(path), key=lambda row: str(row["id"]))[:most]
