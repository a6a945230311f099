"""Results of steps, by key; and the digests of source files, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from sqlalchemy import delete, select

from guideway.core.artifact import Artifact, Digest
from guideway.core.evidence import Evidence
from guideway.store import tables
from guideway.store.database import Database

_STEPS, _FILES = tables.steps, tables.file_digests


class StepResult(msgspec.Struct, frozen=True):
    """What one step left: its artifact, its evidence, the signed envelope about both, and how long it took."""

    key: str
    stage: str
    artifact: Artifact
    evidence: tuple[Evidence, ...]
    facts: tuple[str, ...]
    envelope: Digest
    seconds: float
    at: float
    parts: dict[str, str] = {}
    """The digests that made the key, by name: a later plan compares them and says what changed."""


def step(database: Database, key: str) -> StepResult | None:
    """The result kept under *key*."""
    row = database.row(select(_STEPS.c.result).where(_STEPS.c.key == key))
    return msgspec.json.decode(row.result, type=StepResult) if row else None


def latest(database: Database, stage: str) -> StepResult | None:
    """The newest result of a stage, whatever its key: what a plan compares itself with."""
    newest = select(_STEPS.c.result).where(_STEPS.c.stage == stage).order_by(_STEPS.c.at.desc()).limit(1)
    row = database.row(newest)
    return msgspec.json.decode(row.result, type=StepResult) if row else None


def all_of(database: Database, stage: str) -> list[StepResult]:
    """Every kept result of a stage, the oldest first."""
    rows = database.rows(select(_STEPS.c.result).where(_STEPS.c.stage == stage).order_by(_STEPS.c.at))
    return [msgspec.json.decode(row.result, type=StepResult) for row in rows]


def keep(database: Database, result: StepResult) -> None:
    """Keep a result. The first one under a key stays: the same key means the same work."""
    text = msgspec.json.encode(result).decode()
    database.put_once(_STEPS, key=result.key, stage=result.stage, result=text, at=result.at)


def forget(database: Database, key: str) -> None:
    """Drop a result whose blobs are gone, so that the step runs again."""
    database.execute(delete(_STEPS).where(_STEPS.c.key == key))


def digests(database: Database) -> set[Digest]:
    """Every blob that a kept result needs: the files of its artifact, and its envelope."""
    rows = database.rows(select(_STEPS.c.result))
    results = (msgspec.json.decode(row.result, type=StepResult) for row in rows)
    return {digest for one in results for digest in (one.envelope, *(file.digest for file in one.artifact.files))}


def file_digest(database: Database, path: Path) -> Digest:
    """The digest of a source file; read only when size, time or inode differ from last time."""
    stat = path.stat()
    known = database.row(select(_FILES).where(_FILES.c.path == str(path)))
    if known and (known.size, known.mtime_ns, known.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino):
        return str(known.digest)
    with path.open("rb") as file:
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    seen = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "inode": stat.st_ino}
    database.put(_FILES, path=str(path), digest=digest, **seen)
    return digest
