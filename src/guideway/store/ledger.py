"""The ledger: who did what, to which digest, and why. Each line holds the hash of the one before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Select, insert, select

from guideway.core.artifact import canonical_json
from guideway.core.errors import Corrupt
from guideway.kit.user import user_name
from guideway.store import tables
from guideway.store.chain import Line, Walk, line_hash
from guideway.store.database import Database

_T = tables.ledger
_CHUNK = 4000
"""Lines that are fetched at once: memory stays the same however long the ledger is."""


class Entry(msgspec.Struct, frozen=True):
    """One line of the ledger. ``hash`` covers every other field, the previous hash included.

    ``who`` is the signer or the process; ``data`` holds the user of the operating system too.
    """

    seq: int
    at: float
    who: str
    what: str
    subject: str
    why: str
    data: Mapping[str, Any]
    previous: str
    hash: str


def append(
    database: Database, *, at: float, who: str, what: str, subject: str, why: str = "", data: Mapping[str, Any] = {}
) -> Entry:
    """Add one line, inside the caller's transaction if there is one. The user we act as is added to *data*."""
    data = {"user": user_name(), **data}
    with database.transaction():
        tail = last(database)
        seq, previous = (tail[0] + 1, tail[1]) if tail else (1, installation(database))
        fields = (seq, at, who, what, subject, why, canonical_json(data).decode(), previous)
        line = Line(*fields, line_hash(fields))
        database.execute(insert(_T).values(**line._asdict()))
    return Entry(seq, at, who, what, subject, why, data, previous, line.hash)


def last(database: Database) -> tuple[int, str] | None:
    """Number and hash of the last line; None while there is none."""
    row = database.row(select(_T.c.seq, _T.c.hash).order_by(_T.c.seq.desc()).limit(1))
    return (row.seq, row.hash) if row else None


def entries(
    database: Database,
    *,
    limit: int = -1,
    newest_first: bool = False,
    what: str | None = None,
    subject: str | None = None,
) -> Iterator[Entry]:
    """The lines in order, or the newest first; only those that say *what*, or are about *subject*.

    A *subject* of hexadecimal digits is the beginning of a digest.
    """
    query = select(_T).order_by(_T.c.seq.desc() if newest_first else _T.c.seq)
    if what is not None:
        query = query.where(_T.c.what == what)
    if subject is not None:
        query = _about(query, subject)
    for row in database.rows(query if limit < 0 else query.limit(limit)):
        line = Line._make(row)
        yield Entry(*line[:6], msgspec.json.decode(line.data), line.previous, line.hash)


def lines(database: Database) -> Iterator[Line]:
    """Every line in order as it is kept, fetched a few thousand at a time."""
    after: int | None = None
    while True:
        query = select(_T).order_by(_T.c.seq).limit(_CHUNK)
        found = database.rows(query if after is None else query.where(_T.c.seq > after))
        yield from map(Line._make, found)
        if len(found) < _CHUNK:
            return
        after = found[-1].seq


def verify(database: Database) -> int:
    """Recompute every hash; the number of lines. What only a checkpoint can show is left to `checkpoints.verify`.

    Raises:
        Corrupt: a line was changed, removed, added or moved; names the first one.
    """
    walk = Walk(installation(database))
    for line in lines(database):
        walk.take(line)
    found = walk.problems()
    if found:
        raise Corrupt(found[0].what, where="ledger", try_this="`guideway audit verify` names all of it")
    return walk.lines


def installation(database: Database) -> str:
    """The id of this installation. The first line holds it in place of a previous hash: no ledger fits another."""
    row = database.row(select(tables.meta.c.value).where(tables.meta.c.key == "installation"))
    return str(row.value) if row else ""


def _about(query: Select[Any], subject: str) -> Select[Any]:
    digits = subject.removeprefix("sha256:")
    if len(digits) >= 4 and set(digits) <= set("0123456789abcdef"):
        return query.where(tables.begins(_T.c.subject, digits) | (_T.c.subject == subject))
    return query.where(_T.c.subject == subject)
