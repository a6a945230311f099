"""What the readers of one text hand to each other."""

from __future__ import annotations

from typing import NamedTuple

from guideway.core.privacy import Entity

LEFT = r"(?:(?<![0-9A-Za-z])|(?<=\\[nrtbf]))"
"""Nothing that continues a word stands before; an escaped line end is no letter. Han never continues one."""

RIGHT = r"(?![0-9A-Za-z])"


class Found(NamedTuple):
    """Characters *start* to *end* (exclusive) of a text are personal data."""

    start: int
    end: int
    entity: Entity


class Candidate(NamedTuple):
    """What a reader takes for personal data; of two that overlap the higher *certainty* stays, then the longer."""

    start: int
    end: int
    entity: Entity
    certainty: int


def stands_alone(text: str, start: int, end: int) -> bool:
    """Is the token at *start* to *end* no part of a longer word or number of ASCII?"""
    after = text[end : end + 1]
    return starts_alone(text, start) and not (after.isascii() and after.isalnum())


def starts_alone(text: str, start: int) -> bool:
    """Does no word of ASCII run into *start*?"""
    return not goes_on(text, start)


def goes_on(text: str, start: int) -> bool:
    """Does what begins at *start* continue a word of ASCII? An escaped line end is no letter."""
    before = text[start - 1] if start else ""
    if not (before.isascii() and before.isalnum()):
        return False
    return not (before in "nrtbf" and start > 1 and text[start - 2] == "\\")
