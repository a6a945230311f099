"""What canaries and scaling know, and how far the spools of outcomes were read: in one transaction with it.

Rows hold MessagePack of nouns that only the rooms above know; they say the type when they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from sqlalchemy import delete, select

from guideway.store import tables
from guideway.store.database import Database

_CANARIES, _BASELINES = tables.canaries, tables.baselines
_SCALINGS, _SPOOLS = tables.scalings, tables.spools
Noun = TypeVar("Noun", bound=msgspec.Struct)


def put_canary(database: Database, rollout: str, environment: str, canary: msgspec.Struct) -> None:
    """Write what the canary of a rollout has seen."""
    database.put(_CANARIES, rollout=rollout, environment=environment, body=msgspec.msgpack.encode(canary))


def canary(database: Database, rollout: str, type: type[Noun]) -> Noun | None:
    """What the canary of a rollout has seen; None before it began."""
    row = database.row(select(_CANARIES.c.body).where(_CANARIES.c.rollout == rollout))
    return msgspec.msgpack.decode(row.body, type=type) if row else None


def put_baseline(database: Database, environment: str, baseline: msgspec.Struct) -> None:
    """Write what was seen of the release that serves."""
    database.put(_BASELINES, environment=environment, body=msgspec.msgpack.encode(baseline))


def baseline(database: Database, environment: str, type: type[Noun]) -> Noun | None:
    """What was seen of the release that serves; None before anything was."""
    row = database.row(select(_BASELINES.c.body).where(_BASELINES.c.environment == environment))
    return msgspec.msgpack.decode(row.body, type=type) if row else None


def put_scaling(database: Database, environment: str, scaling: msgspec.Struct) -> None:
    """Write what the scaling of an environment knows."""
    database.put(_SCALINGS, environment=environment, body=msgspec.msgpack.encode(scaling))


def scaling(database: Database, environment: str, type: type[Noun]) -> Noun | None:
    """What the scaling of an environment knows; None: it never decided anything."""
    row = database.row(select(_SCALINGS.c.body).where(_SCALINGS.c.environment == environment))
    return msgspec.msgpack.decode(row.body, type=type) if row else None


def positions(database: Database, environment: str) -> dict[str, int]:
    """How far each segment of the environment's spool was read, in bytes."""
    rows = database.rows(select(_SPOOLS.c.segment, _SPOOLS.c.position).where(_SPOOLS.c.environment == environment))
    return {row.segment: row.position for row in rows}


def put_positions(database: Database, environment: str, read: Mapping[str, int]) -> None:
    """Write how far segments were read."""
    for segment, position in read.items():
        database.put(_SPOOLS, environment=environment, segment=segment, position=position)


def drop_positions(database: Database, environment: str, gone: Iterable[str]) -> None:
    """Forget segments that were removed."""
    for segment in gone:
        database.execute(delete(_SPOOLS).where(_SPOOLS.c.environment == environment, _SPOOLS.c.segment == segment))
