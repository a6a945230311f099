"""What keys used, by day of UTC, and what gateways have claimed of a key's budget in one minute or one day.

Money is in billionths of the currency unit. A claim is written before anything is granted from it: whoever dies with
a claim has, for the budget, used it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from sqlalchemy import delete, insert, select, update

from guideway.store import tables
from guideway.store.database import Database

Three = tuple[int, int, int]
"""Requests, tokens, money."""
NANO = 1_000_000_000
"""So many billionths are one unit of the currency."""
_U, _C = tables.usage, tables.claims


class Use(NamedTuple):
    """What one key used in one day."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: int = 0


def claim(
    database: Database,
    key: str,
    period: Literal["minute", "day"],
    number: int,
    *,
    need: Three,
    want: Three,
    limit: Three,
) -> tuple[Three, Three]:
    """Claim *want*, or as much as fits, but *need* at least or nothing. Returns what was claimed, and what is left.

    All claims together never exceed *limit*. A limit that is new counts what was used that day already.
    """
    with database.transaction():
        before = _claimed(database, key, period, number)
        left = _minus(limit, before)
        if any(wanted and wanted > there for wanted, there in zip(need, left, strict=True)):
            return (0, 0, 0), left
        granted = _each(lambda wanted, there: max(0, min(wanted, there)), want, left)
        _put_claim(database, key, period, number, _each(lambda had, new: had + new if new else had, before, granted))
        return granted, _minus(left, granted)


def change_claim(database: Database, key: str, period: Literal["minute", "day"], number: int, by: Three) -> None:
    """Give back a part of what was claimed (*by* is negative), or add what was used beyond it."""
    with database.transaction():
        before = _claimed(database, key, period, number)
        _put_claim(database, key, period, number, _each(lambda had, more: max(0, had + more), before, by))


def forget_claims(database: Database, *, minute: int, day: int) -> int:
    """Delete the claims of windows before these; how many."""
    old = (_C.c.period == "minute") & (_C.c.number < minute) | (_C.c.period == "day") & (_C.c.number < day)
    return database.execute(delete(_C).where(old))


def add(database: Database, key: str, day: int, use: Use) -> None:
    """*key* used so much more on *day* (days since 1970)."""
    more = {name: _U.c[name] + value for name, value in use._asdict().items()}
    with database.transaction():
        if not database.execute(update(_U).where(_U.c.day == day, _U.c.key == key).values(more)):
            database.execute(insert(_U).values(day=day, key=key, **use._asdict()))


def of_day(database: Database, day: int) -> dict[str, Use]:
    """What every key used on *day*."""
    columns = [_U.c[name] for name in Use._fields]
    return {row.key: Use(*row[1:]) for row in database.rows(select(_U.c.key, *columns).where(_U.c.day == day))}


def _claimed(database: Database, key: str, period: str, number: int) -> Three:
    """What is claimed, or was used, whichever is more."""
    row = database.row(select(_C).where(_C.c.period == period, _C.c.number == number, _C.c.key == key))
    claimed: Three = (row.requests, row.tokens, row.money) if row else (0, 0, 0)
    used = database.row(select(_U).where(_U.c.day == number, _U.c.key == key)) if period == "day" else None
    if used is None:
        return claimed
    return _each(max, claimed, (used.requests, used.input_tokens + used.output_tokens, used.money))


def _put_claim(database: Database, key: str, period: str, number: int, claimed: Three) -> None:
    requests, tokens, money = claimed
    database.put(_C, period=period, number=number, key=key, requests=requests, tokens=tokens, money=money)


def _each(function: Callable[[int, int], int], one: Three, other: Three) -> Three:
    requests, tokens, money = map(function, one, other)
    return requests, tokens, money


def _minus(one: Three, other: Three) -> Three:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]
