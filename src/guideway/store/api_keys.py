"""Keys of clients, per environment: only peppered digests are kept."""

from __future__ import annotations

import msgspec

from guideway.core.route import ApiKey
from guideway.store.database import Database


def put(database: Database, environment: str, key: ApiKey) -> None:
    """Keep a key, or change what is known of it."""
    text = msgspec.json.encode(key).decode()
    database.execute("INSERT OR REPLACE INTO api_keys VALUES (?,?,?)", key.id, environment, text)


def all_of(database: Database, environment: str) -> list[ApiKey]:
    """All keys of an environment, revoked ones included."""
    rows = database.rows("SELECT body FROM api_keys WHERE environment = ? ORDER BY id", environment)
    return [msgspec.json.decode(row["body"], type=ApiKey) for row in rows]
