"""Keys of clients, per environment: only peppered digests are kept."""

from __future__ import annotations

from sqlalchemy import select

from guideway.core.route import ApiKey
from guideway.store import rows, tables
from guideway.store.database import Database

_T = tables.api_keys


def put(database: Database, environment: str, key: ApiKey) -> None:
    """Keep a key, or change what is known of it."""
    database.put(_T, id=key.id, environment=environment, body=rows.write(key))


def all_of(database: Database, environment: str) -> list[ApiKey]:
    """All keys of an environment, revoked ones included.

    Raises:
        Unavailable: another version gave one of them a limit that this one does not know, and would not keep.
    """
    found = database.rows(select(_T.c.id, _T.c.body).where(_T.c.environment == environment).order_by(_T.c.id))
    return [rows.read(row.body, ApiKey, f"key {row.id}", order=True) for row in found]


def is_taken(database: Database, id: str) -> bool:
    """Is there a key with this id, in any environment?"""
    return database.row(select(_T.c.id).where(_T.c.id == id)) is not None
