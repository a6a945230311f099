"""Plain JSON: one fact or a list of them, in our own words."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.evidence import Interval
from guideway.standard.imports.found import Imported, one_line, seconds
from guideway.standard.imports.json_values import converted, parsed

Line = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z")]
"""A short text that may stand in a table."""
Time = Annotated[float, Meta(ge=0.0, le=253402300799.0)] | str
"""Seconds since 1970, or ISO 8601 with a zone."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base: an unknown key is an error."""


class _Around(_Part, frozen=True):
    low: float
    high: float
    level: Annotated[float, Meta(gt=0.0, lt=1.0)]
    method: Annotated[Line, Meta(min_length=1)]


class _Fact(_Part, frozen=True):
    metric: str
    value: float
    unit: Line = ""
    n: Annotated[int, Meta(ge=0, le=10**15)] = 0
    slice: Line = ""
    interval: _Around | None = None
    at: Time | None = None
    valid_until: Time | None = None


def facts(data: bytes, name: str, known: Collection[str], refuse: dict[str, str]) -> tuple[Imported, ...]:
    """Every fact of the file. *known* are the metrics that it may give, *refuse* says why it may not give others.

    Raises:
        SpecError: not such a file, an unknown key or metric, a value out of range, or one fact twice.
    """
    value = parsed(data, name)
    entries = value if isinstance(value, list) else [value]
    if not entries:
        raise SpecError("there is no fact in this list", where=name)
    found: dict[tuple[str, str], Imported] = {}
    for number, entry in enumerate(entries, 1):
        where = f"{name}: entry {number}" if isinstance(value, list) else name
        fact = _fact(entry, where, known, refuse)
        if (fact.metric, fact.slice) in found:
            on = f" on '{fact.slice}'" if fact.slice else ""
            raise SpecError(f"'{fact.metric}'{on} is here twice", where=where)
        found[fact.metric, fact.slice] = fact
    return tuple(found.values())


def _fact(entry: Any, where: str, known: Collection[str], refuse: dict[str, str]) -> Imported:
    _check_keys(entry, _Fact, where)
    if isinstance(entry, dict):
        _check_keys(entry.get("interval"), _Around, where)
    fact = converted(entry, _Fact, where, "not a fact")
    if fact.metric in refuse:
        raise SpecError(refuse[fact.metric], where=where)
    if fact.metric not in known:
        shown = one_line(fact.metric)
        raise SpecError(f"no clause asks for '{shown}'", where=where, try_this=_advice(fact.metric, known))
    at, until = _time(fact.at, where), _time(fact.valid_until, where)
    if at is not None and until is not None and until <= at:
        raise SpecError("valid_until is not later than at", where=where)
    return Imported(
        metric=fact.metric,
        value=fact.value,
        unit=fact.unit,
        n=fact.n,
        interval=_interval(fact, where),
        slice=fact.slice,
        at=at,
        valid_until=until,
    )


def _advice(metric: str, known: Collection[str]) -> str:
    """The nearest metric, or where to read what is asked for: all of them would not be one line."""
    said = did_you_mean(metric, known)
    return said if len(said) < 200 else "`guideway standard` lists what is asked for"


def _check_keys(entry: Any, kind: type[msgspec.Struct], where: str) -> None:
    fields = kind.__struct_fields__
    if isinstance(entry, dict):
        for key in entry.keys() - set(fields):
            raise SpecError(f"unknown key '{one_line(key)}'", where=where, try_this=did_you_mean(key, fields))


def _interval(fact: _Fact, where: str) -> Interval | None:
    around = fact.interval
    if around is None:
        return None
    if not around.low <= fact.value <= around.high:
        raise SpecError(
            f"the value {fact.value:g} is outside of its interval {around.low:g} to {around.high:g}", where=where
        )
    return Interval(around.low, around.high, around.level, around.method)


def _time(said: float | str | None, where: str) -> float | None:
    return seconds(said, where, naive_is_utc=False) if isinstance(said, str) else said
