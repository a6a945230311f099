"""Keys of clients, per environment: only peppered digests are kept."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from guideway.core.route import ApiKey
from guideway.store import tables
from guideway.store.database import Database

_T = tables.api_keys


def put(database: Database, environment: str, key: ApiKey) -> None:
    """Keep a key, or change what is known of it."""
    database.put(_T, id=key.id, environment=environment, body=msgspec.json.encode(key).decode())


def all_of(database: Database, environment: str) -> list[ApiKey]:
    """All keys of an environment, revoked ones included."""
    rows = database.rows(select(_T.c.body).where(_T.c.environment == environment).order_by(_T.c.id))
    return [msgspec.json.decode(row.body, type=ApiKey) for row in rows]


def is_taken(database: Database, id: str) -> bool:
    """Is there a key with this id, in any environment?"""
    return database.row(select(_T.c.id).where(_T.c.id == id)) is not None
