"""What clients say of answers: rows for the rollout's signals and for later training. Corrections are personal data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import delete, select

from guideway.core.feedback import Judgement
from guideway.kit.files import locked
from guideway.store import ledger, tables
from guideway.store.database import Database
from guideway.store.feedback_spool import records, take

FOLDER = "feedback"
"""The folder of the spools, beside the files that the workers follow."""

_T = tables.feedback
_AT_ONCE = 500
"""Rows of one statement: a database allows some thousands of values in one."""


class Committed(msgspec.Struct, frozen=True):
    """What became rows; ``lost`` counts bytes that were no whole record."""

    judgements: int = 0
    lost: int = 0


def commit(database: Database, folder: Path, told: Callable[[list[Judgement]], None] = lambda found: None) -> Committed:
    """Make rows of all that waits in the spools in *folder*; *told* hears what became rows.

    Safe to be killed and to be repeated: the last judgement of a key about a request wins, whatever the order.

    Raises:
        Unavailable: the state cannot be written; everything stays in the spools.
    """
    judgements = lost = 0
    if not folder.is_dir():
        return Committed()
    with locked(folder / "commit.lock", wait=False) as alone:
        for path in take(folder) if alone else []:
            found, rest = _read(path)
            put_all(database, found)
            path.unlink()
            told(found)
            judgements, lost = judgements + len(found), lost + rest
    return Committed(judgements, lost)


def put_all(database: Database, judgements: Iterable[Judgement]) -> None:
    """Keep judgements; of one key about one request the last is kept, whatever the order.

    In pieces, so that whoever waits to write waits no longer than for one.
    """
    last: dict[tuple[str, str], Judgement] = {}
    for one in judgements:
        known = last.get((one.request, one.key))
        if known is None or known.at <= one.at:
            last[one.request, one.key] = one
    rows = [_row(one) for one in last.values()]
    for first in range(0, len(rows), _AT_ONCE):
        database.put_newest(_T, rows[first : first + _AT_ONCE], "at")


def _row(judgement: Judgement) -> dict[str, Any]:
    return {
        "request": judgement.request,
        "key": judgement.key,
        "environment": judgement.environment,
        "owner": judgement.owner,
        "release": judgement.release,
        "at": judgement.at,
        "body": msgspec.json.encode(judgement).decode(),
    }


def all_of(database: Database, environment: str, *, since: float = 0.0, limit: int = -1) -> list[Judgement]:
    """The judgements of an environment from *since* on, the newest first."""
    query = select(_T.c.body).where((_T.c.environment == environment) & (_T.c.at >= since))
    query = query.order_by(_T.c.at.desc(), _T.c.request)
    rows = database.rows(query if limit < 0 else query.limit(limit))
    return [msgspec.json.decode(row.body, type=Judgement) for row in rows]


def erase(database: Database, owner: str, *, at: float, who: str, folders: Iterable[Path] = ()) -> int:
    """Delete all that the tenant *owner* said, in every environment; how many rows.

    What waits in the spools of *folders* is committed first, so that nothing comes back later.
    """
    for folder in folders:
        commit(database, folder)
    with database.transaction():
        gone = database.execute(delete(_T).where(_T.c.owner == owner))
        ledger.append(database, at=at, who=who, what="feedback erased", subject=owner, data={"rows": gone})
    return gone


def _read(path: Path) -> tuple[list[Judgement], int]:
    """The judgements in one file, and the number of bytes that are none: one bad record does not hold up the others."""
    payloads, lost = records(path.read_bytes())
    found: list[Judgement] = []
    for payload in payloads:
        try:
            found.append(msgspec.msgpack.decode(payload, type=Judgement))
        except ValueError:
            lost += len(payload)
    return found, lost
