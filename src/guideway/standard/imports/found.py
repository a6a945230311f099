"""What a report says: figures, when they were measured, and about which digests."""

from __future__ import annotations

import datetime
import math
from typing import NamedTuple

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import SpecError
from guideway.core.evidence import Interval


class Imported(msgspec.Struct, frozen=True):
    """One figure of a report. ``at`` and ``valid_until`` are seconds since 1970; ``at`` is None if it does not say.

    ``note`` says in one line where the figure comes from.
    """

    metric: str
    value: float
    unit: str = ""
    n: int = 0
    interval: Interval | None = None
    slice: str = ""
    at: float | None = None
    valid_until: float | None = None
    note: str = ""


class Found(NamedTuple):
    """The figures of a report, and the digests that it says it is about: none if it does not say."""

    facts: tuple[Imported, ...]
    subjects: frozenset[Digest] = frozenset()


class Figure(NamedTuple):
    """The one number that a report gives for a metric."""

    value: float
    unit: str
    n: int
    at: float | None = None
    note: str = ""


def seconds(text: str, where: str, *, naive_is_utc: bool) -> float:
    """An ISO 8601 time as seconds since 1970; *naive_is_utc* reads one without a zone as UTC.

    Raises:
        SpecError: not a time, without a zone, or before 1970.
    """
    try:
        time = datetime.datetime.fromisoformat(text.strip())
        if time.tzinfo is None:
            if not naive_is_utc:
                raise SpecError(f"the time '{one_line(text)}' has no zone", where=where, try_this=f"{text.strip()}Z")
            time = time.replace(tzinfo=datetime.UTC)
        found = time.timestamp()
    except (ValueError, OverflowError):
        raise SpecError(
            f"'{one_line(text)}' is not a time", where=where, try_this="ISO 8601, such as 2026-01-31T12:00:00Z"
        ) from None
    if found < 0:
        raise SpecError(f"the time '{one_line(text)}' is before 1970", where=where)
    return found


def number(text: str, called: str, where: str) -> float:
    """A finite number that is not negative, from an attribute.

    Raises:
        SpecError: it is not.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise SpecError(f"{called} is '{one_line(text)}', not a number", where=where)
    return value


def one_line(text: str, longest: int = 60) -> str:
    """*text* as it may stand in a line on a terminal: printable, no breaks, not long."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: longest * 4]).split())
    return plain if len(plain) <= longest else plain[: longest - 1] + "…"
