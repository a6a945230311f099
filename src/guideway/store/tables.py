"""Every table of the state, as the newest migration leaves it. Times are seconds since 1970, bodies are JSON."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

TABLES = MetaData()

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared byte by byte on both databases: the same order, and the first digits of a digest are a range."""
_LONG = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits on both; on SQLite only INTEGER can be the key that the rows are sorted by."""

meta = Table("meta", TABLES, Column("key", _TEXT, primary_key=True), Column("value", _TEXT, nullable=False))

steps = Table(
    "steps",
    TABLES,
    Column("key", _TEXT, primary_key=True),
    Column("stage", _TEXT, nullable=False),
    Column("result", _TEXT, nullable=False),
    Column("at", Double, nullable=False),
)

file_digests = Table(
    "file_digests",
    TABLES,
    Column("path", _TEXT, primary_key=True),
    Column("size", _LONG, nullable=False),
    Column("mtime_ns", _LONG, nullable=False),
    Column("inode", _LONG, nullable=False),
    Column("digest", _TEXT, nullable=False),
)

releases = Table(
    "releases",
    TABLES,
    Column("digest", _TEXT, primary_key=True),
    Column("name", _TEXT, nullable=False),
    Column("number", Integer, nullable=False),
    Column("body", _TEXT, nullable=False),
    UniqueConstraint("name", "number"),
)

admissions = Table(
    "admissions",
    TABLES,
    Column("release", _TEXT, nullable=False),
    Column("environment", _TEXT, nullable=False),
    Column("verdict", _TEXT, nullable=False),
    Column("envelope", _TEXT, nullable=False),
    Column("at", Double, nullable=False),
    PrimaryKeyConstraint("release", "environment"),
)

environments = Table(
    "environments", TABLES, Column("name", _TEXT, primary_key=True), Column("body", _TEXT, nullable=False)
)

rollouts = Table(
    "rollouts",
    TABLES,
    Column("id", _TEXT, primary_key=True),
    Column("environment", _TEXT, nullable=False),
    Column("phase", _TEXT, nullable=False),
    Column("created", Double, nullable=False),
    Column("body", _TEXT, nullable=False),
)

canaries = Table(
    "canaries",
    TABLES,
    Column("rollout", _TEXT, primary_key=True),
    Column("environment", _TEXT, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

baselines = Table(
    "baselines",
    TABLES,
    Column("environment", _TEXT, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

scalings = Table(
    "scalings",
    TABLES,
    Column("environment", _TEXT, primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

spools = Table(
    "spools",
    TABLES,
    Column("environment", _TEXT, primary_key=True),
    Column("segment", _TEXT, primary_key=True),
    Column("position", _LONG, nullable=False),
)

routes = Table(
    "routes",
    TABLES,
    Column("environment", _TEXT, primary_key=True),
    Column("epoch", _LONG, nullable=False),
    Column("revision", _LONG, nullable=False),
    Column("body", _TEXT, nullable=False),
)

replicas = Table(
    "replicas",
    TABLES,
    Column("id", _TEXT, primary_key=True),
    Column("environment", _TEXT, nullable=False),
    Column("release", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    Column("body", _TEXT, nullable=False),
)

api_keys = Table(
    "api_keys",
    TABLES,
    Column("id", _TEXT, primary_key=True),
    Column("environment", _TEXT, nullable=False),
    Column("body", _TEXT, nullable=False),
)

ledger = Table(
    "ledger",
    TABLES,
    Column("seq", _LONG, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("who", _TEXT, nullable=False),
    Column("what", _TEXT, nullable=False),
    Column("subject", _TEXT, nullable=False),
    Column("why", _TEXT, nullable=False),
    Column("data", _TEXT, nullable=False),
    Column("previous", _TEXT, nullable=False),
    Column("hash", _TEXT, nullable=False),
)

evidence = Table(
    "evidence",
    TABLES,
    Column("digest", _TEXT, primary_key=True),
    Column("subject_kind", _TEXT, nullable=False),
    Column("subject", _TEXT, nullable=False),
    Column("metric", _TEXT, nullable=False),
    Column("slice", _TEXT, nullable=False),
    Column("at", Double, nullable=False),
    Column("valid_until", Double),
    Column("automatic", Boolean, nullable=False),
    Column("signer", _TEXT, nullable=False),
    Column("envelope", _TEXT, nullable=False),
    Column("body", _TEXT, nullable=False),
)

waivers = Table(
    "waivers",
    TABLES,
    Column("envelope", _TEXT, primary_key=True),
    Column("name", _TEXT, nullable=False),
    Column("environment", _TEXT, nullable=False),
    Column("clause", _TEXT, nullable=False),
    Column("signer", _TEXT, nullable=False),
    Column("until", Double, nullable=False),
    Column("body", _TEXT, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    TABLES,
    Column("seq", _LONG, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("hash", _TEXT, nullable=False),
    Column("signer", _TEXT, nullable=False),
    Column("body", _TEXT, nullable=False),
)

feedback = Table(
    "feedback",
    TABLES,
    Column("request", _TEXT, nullable=False),
    Column("key", _TEXT, nullable=False),
    Column("environment", _TEXT, nullable=False),
    Column("owner", _TEXT, nullable=False),
    Column("release", _TEXT, nullable=False),
    Column("at", Double, nullable=False),
    Column("body", _TEXT, nullable=False),
    PrimaryKeyConstraint("request", "key"),
)

usage = Table(
    "usage",
    TABLES,
    Column("day", _LONG, nullable=False),
    Column("key", _TEXT, nullable=False),
    Column("requests", _LONG, nullable=False),
    Column("input_tokens", _LONG, nullable=False),
    Column("output_tokens", _LONG, nullable=False),
    Column("money", _LONG, nullable=False),
    PrimaryKeyConstraint("day", "key"),
)

claims = Table(
    "claims",
    TABLES,
    Column("period", _TEXT, nullable=False),
    Column("number", _LONG, nullable=False),
    Column("key", _TEXT, nullable=False),
    Column("requests", _LONG, nullable=False),
    Column("tokens", _LONG, nullable=False),
    Column("money", _LONG, nullable=False),
    PrimaryKeyConstraint("period", "number", "key"),
)

files = Table(
    "files",
    TABLES,
    Column("id", _TEXT, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("purpose", _TEXT, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double, nullable=False),
    Column("body", _TEXT, nullable=False),
)

batches = Table(
    "batches",
    TABLES,
    Column("id", _TEXT, primary_key=True),
    Column("owner", _TEXT, nullable=False),
    Column("status", _TEXT, nullable=False),
    Column("input", _TEXT, nullable=False),
    Column("created", Double, nullable=False),
    Column("body", _TEXT, nullable=False),
)

FIRST_INDEXES = (
    Index("steps_by_stage", steps.c.stage, steps.c.at),
    Index("rollouts_by_environment", rollouts.c.environment, rollouts.c.created),
)
"""Those of the first schema."""

LIST_INDEXES = (
    Index("releases_by_number", releases.c.number),
    Index("rollouts_by_phase", rollouts.c.phase, rollouts.c.environment),
    Index("replicas_by_environment", replicas.c.environment, replicas.c.id),
    Index("api_keys_by_environment", api_keys.c.environment, api_keys.c.id),
    Index("ledger_by_what", ledger.c.what, ledger.c.seq),
    Index("ledger_by_subject", ledger.c.subject, ledger.c.seq),
    Index("evidence_by_subject", evidence.c.subject, evidence.c.metric),
    Index("evidence_by_metric", evidence.c.metric, evidence.c.at),
    Index("evidence_by_time", evidence.c.at, evidence.c.digest),
    Index("waivers_by_name", waivers.c.name, waivers.c.environment),
)
"""Those for the queries that lists and reports make."""

FEEDBACK_INDEXES = (
    Index("feedback_by_time", feedback.c.environment, feedback.c.at),
    Index("feedback_by_owner", feedback.c.owner, feedback.c.environment),
)
"""Those for lists of judgements, and for their erasure."""

BATCH_INDEXES = (
    Index("files_by_owner", files.c.owner, files.c.created, files.c.id),
    Index("files_by_expiry", files.c.expires),
    Index("batches_by_owner", batches.c.owner, batches.c.created, batches.c.id),
    Index("batches_by_status", batches.c.status, batches.c.created),
    Index("batches_by_input", batches.c.input, batches.c.status),
)
"""Those of files and batches."""


def begins(column: ColumnElement[str], digits: str) -> ColumnElement[bool]:
    """Does the digest in *column* begin with these digits? As a range, so that an index serves it."""
    first = "sha256:" + digits
    return (column >= first) & (column < first + "g")  # 'g' comes after every hexadecimal digit
