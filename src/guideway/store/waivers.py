"""Waivers as rows: who let which clauses pass, for what, until when, and why. The signed envelopes are blobs."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from guideway.core.artifact import Digest
from guideway.core.dossier import Waiver
from guideway.store import tables
from guideway.store.database import Database

_T = tables.waivers


def put(database: Database, waiver: Waiver) -> None:
    """Keep a waiver; the same envelope is kept once."""
    database.put_once(
        _T,
        envelope=waiver.envelope,
        name=waiver.name,
        environment=waiver.environment,
        clause=" ".join(waiver.clauses),
        signer=waiver.signer,
        until=waiver.until,
        body=msgspec.json.encode(waiver).decode(),
    )


def all_of(database: Database, name: str, environment: str | None = None) -> list[Waiver]:
    """The waivers of a model, those for every environment included, by the day they end; also ended ones."""
    query = select(_T.c.body).where(_T.c.name == name).order_by(_T.c.until, _T.c.envelope)
    rows = database.rows(query if environment is None else query.where(_T.c.environment.in_((environment, "*"))))
    return [msgspec.json.decode(row.body, type=Waiver) for row in rows]


def digests(database: Database) -> set[Digest]:
    """Every blob that rows name: the envelopes."""
    return {str(row.envelope) for row in database.rows(select(_T.c.envelope))}
