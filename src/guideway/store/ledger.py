"""The ledger: who did what, to which digest, and why. Each line holds the hash of the one before it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from guideway.core.artifact import canonical_json
from guideway.core.errors import Corrupt
from guideway.store.database import Database


class Entry(msgspec.Struct, frozen=True):
    """One line of the ledger. ``hash`` covers every other field, the previous hash included."""

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
    """Add one line, inside the caller's transaction if there is one."""
    with database.transaction():
        last = database.row("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
        seq, previous = (last["seq"] + 1, last["hash"]) if last else (1, _first(database))
        fields = (seq, at, who, what, subject, why, canonical_json(data).decode(), previous)
        line_hash = _hash(fields)
        database.execute("INSERT INTO ledger VALUES (?,?,?,?,?,?,?,?,?)", *fields, line_hash)
    return Entry(seq, at, who, what, subject, why, data, previous, line_hash)


def entries(database: Database, *, limit: int = -1, newest_first: bool = False) -> Iterator[Entry]:
    """The lines in order, or the newest first."""
    order = "DESC" if newest_first else "ASC"
    for row in database.rows(f"SELECT * FROM ledger ORDER BY seq {order} LIMIT ?", limit):  # noqa: S608
        values = dict(row)
        values["data"] = msgspec.json.decode(values["data"])
        yield Entry(**values)


def verify(database: Database) -> int:
    """Recompute every hash; the number of lines.

    Raises:
        Corrupt: a line was changed, removed, added or moved; names the first one.
    """
    previous, expected = _first(database), 1
    for row in database.rows("SELECT * FROM ledger ORDER BY seq"):
        fields = tuple(row)[:8]
        if row["seq"] != expected:
            raise Corrupt(f"line {expected} is missing", where="ledger")
        if row["previous"] != previous or row["hash"] != _hash(fields):
            raise Corrupt(f"line {expected} was changed", where="ledger")
        previous, expected = row["hash"], expected + 1
    return expected - 1


def _first(database: Database) -> str:
    """What the first line holds in place of a previous hash: the installation, so that ledgers cannot be swapped."""
    row = database.row("SELECT value FROM meta WHERE key = 'installation'")
    return row["value"] if row else ""


def _hash(fields: tuple[Any, ...]) -> str:
    return hashlib.sha256(msgspec.json.encode(fields)).hexdigest()
