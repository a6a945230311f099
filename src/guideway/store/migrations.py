"""Numbered changes of the schema. All that are missing happen in one transaction, or none does."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Index, Table, insert, select
from sqlalchemy.schema import CreateIndex, CreateTable

from guideway.core.artifact import digest_of
from guideway.store import tables

_DEFAULT_SIGNER = "guideway"


class Migration(NamedTuple):
    """One change, with the name that an error says. ``apply`` runs inside the caller's transaction.

    A table that a later migration changes must be frozen in the one that makes it: ``tables`` is what comes out at
    the end, not what was there in between.
    """

    name: str
    apply: Callable[[Connection], None]


def _first(connection: Connection) -> None:
    """Steps, releases, fleet, keys and ledger."""
    first = (
        tables.meta,
        tables.steps,
        tables.file_digests,
        tables.releases,
        tables.admissions,
        tables.environments,
        tables.rollouts,
        tables.routes,
        tables.replicas,
        tables.api_keys,
        tables.ledger,
    )
    _create(connection, first, tables.FIRST_INDEXES)
    rows = [{"key": "installation", "value": secrets.token_hex(16)}, {"key": "epoch", "value": "0"}]
    connection.execute(insert(tables.meta), rows)


def _evidence(connection: Connection) -> None:
    """Evidence, waivers and checkpoints as rows; indexes for lists and reports; a ledger that refuses changes."""
    _create(connection, (tables.evidence, tables.waivers, tables.checkpoints), tables.LIST_INDEXES)
    _copy_evidence_of_steps(connection)
    for statement in _APPEND_ONLY[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def _feedback(connection: Connection) -> None:
    """What clients say of answers."""
    _create(connection, (tables.feedback,), tables.FEEDBACK_INDEXES)


def _usage(connection: Connection) -> None:
    """What keys used, by day; and what gateways have claimed of their budgets."""
    _create(connection, (tables.usage, tables.claims), ())


def _batches(connection: Connection) -> None:
    """Files that clients upload, and batches of requests."""
    _create(connection, (tables.files, tables.batches), tables.BATCH_INDEXES)


def _canaries(connection: Connection) -> None:
    """What a canary has seen, how far the spools of outcomes were read, and what scaling knows."""
    _create(connection, (tables.canaries, tables.baselines, tables.spools, tables.scalings), ())


MIGRATIONS: tuple[Migration, ...] = (
    Migration("first tables", _first),
    Migration("evidence, waivers and checkpoints", _evidence),
    Migration("feedback", _feedback),
    Migration("usage", _usage),
    Migration("files and batches", _batches),
    Migration("canaries and scaling", _canaries),
)

_APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER ledger_keeps_what_is_written BEFORE UPDATE ON ledger "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
        "CREATE TRIGGER ledger_keeps_every_line BEFORE DELETE ON ledger "
        "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$",
        "CREATE TRIGGER ledger_keeps_every_line BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()",
    ),
}
"""A guard against mistakes. Whoever owns the database can drop it: against those there are checkpoints."""


def _create(connection: Connection, new: Iterable[Table], indexes: Iterable[Index]) -> None:
    for table in new:
        connection.execute(CreateTable(table))
    for index in indexes:
        connection.execute(CreateIndex(index))


def _copy_evidence_of_steps(connection: Connection) -> None:
    """Evidence that older builds kept only inside the results of their steps. There was one signer then."""
    seen = set()
    for row in connection.execute(select(tables.steps.c.result).order_by(tables.steps.c.at)).all():
        result = msgspec.json.decode(row.result)
        for one in result["evidence"]:
            digest = digest_of(one)
            if digest in seen:
                continue
            seen.add(digest)
            values = {
                "digest": digest,
                "subject_kind": one["subject"]["kind"],
                "subject": one["subject"]["digest"],
                "metric": one["metric"],
                "slice": one.get("slice", ""),
                "at": one.get("at", 0.0),
                "valid_until": one.get("valid_until"),
                "automatic": one.get("automatic", True),
                "signer": _DEFAULT_SIGNER,
                "envelope": result["envelope"],
                "body": msgspec.json.encode(one).decode(),
            }
            connection.execute(insert(tables.evidence).values(values))
