"""The chain of hashes, without a database: what a line's hash covers, and what is wrong with a row of lines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

_encode = msgspec.json.Encoder().encode
_REMEMBERED = 200
"""Changed lines that are kept, to see whether they only changed places."""


class Line(NamedTuple):
    """One line as it is kept: ``data`` is canonical JSON text, ``hash`` covers the eight fields before it."""

    seq: int
    at: float
    who: str
    what: str
    subject: str
    why: str
    data: str
    previous: str
    hash: str


class Problem(NamedTuple):
    """What is wrong, and at which line."""

    seq: int
    what: str


def line_hash(fields: Sequence[Any]) -> str:
    """SHA-256, hexadecimal, of the first eight fields of a line as one JSON array without spaces."""
    return hashlib.sha256(_encode(fields)).hexdigest()


class Walk:
    """Follows a ledger line by line, in the order of their numbers."""

    def __init__(self, installation: str) -> None:
        self.lines = 0
        self.last = 0
        self._before = installation
        self._found: list[Problem] = []
        self._changed: dict[int, Line] = {}
        self._moved: list[tuple[int, int]] = []
        self._loose = False  # what stands before the next line is not what stood there: that was said already

    def take(self, line: Line) -> None:
        """Look at the next line."""
        self.lines += 1
        if line.seq <= self.last:
            how = f"stands after line {self.last}" if line.seq > 0 else "was inserted"
            self._found.append(Problem(line.seq, f"line {line.seq} {how}"))
            return
        if line.seq > self.last + 1:
            self._found.append(_missing(self.last + 1, line.seq - 1))
            self._loose = True
        changed = line_hash(line[:8]) != line.hash
        if changed:
            self._take_changed(line)
        elif line.previous != self._before and not self._loose:
            self._found.append(_stranger(line.seq))
        self._before, self.last, self._loose = line.hash, line.seq, changed

    def problems(self) -> list[Problem]:
        """Everything that is wrong, by line; lines that only changed places are told from changed ones."""
        moved = list(self._moved)
        for seq, line in self._changed.items():
            place = next((other for other in self._changed if other != seq and _was(line, other)), None)
            if place is None:
                self._found.append(Problem(seq, f"line {seq} was changed"))
            else:
                moved.append((seq, place - seq))
        self._changed, self._moved = {}, []
        self._found += _told_together(sorted(moved))
        self._found.sort()
        return self._found

    def _take_changed(self, line: Line) -> None:
        """Its hash is not that of its fields. Was only its number changed?"""
        steps = (self._moved[-1][1],) if self._moved else ()
        for step in (*steps, -1, 1):
            if _was(line, line.seq + step):
                self._moved.append((line.seq, step))
                return
        if len(self._changed) < _REMEMBERED:
            self._changed[line.seq] = line
        else:
            self._found.append(Problem(line.seq, f"line {line.seq} was changed"))


def _was(line: Line, seq: int) -> bool:
    """Would its hash be right if it stood at *seq*?"""
    return line_hash((seq, *line[1:8])) == line.hash


def _missing(first: int, last: int) -> Problem:
    which = f"line {first} is" if first == last else f"lines {first} to {last} are"
    return Problem(first, f"{which} missing")


def _stranger(seq: int) -> Problem:
    if seq == 1:
        return Problem(1, "line 1 was written by another installation")
    return Problem(seq - 1, f"line {seq - 1} was replaced: line {seq} follows another one")


def _told_together(moved: list[tuple[int, int]]) -> list[Problem]:
    """Lines beside each other that moved by the same step are one problem."""
    told: list[Problem] = []
    start = 0
    for index, (seq, step) in enumerate(moved):
        if index + 1 < len(moved) and moved[index + 1] == (seq + 1, step):
            continue
        first, start = moved[start][0], index + 1
        if first == seq:
            told.append(Problem(seq, f"line {seq + step} was moved to {seq}"))
        else:
            cause = f"one was inserted at {first + step}" if step < 0 else f"one was removed before {first + step}"
            cause = cause if abs(step) == 1 else "others were inserted or removed before them"
            told.append(Problem(first, f"lines {first + step} to {seq + step} were moved to {first}: {cause}"))
    return told
