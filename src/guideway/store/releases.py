"""Releases and admissions as rows; their bytes are blobs."""

from __future__ import annotations

import msgspec

from guideway.core.artifact import Digest, short
from guideway.core.errors import SpecError
from guideway.core.release import Release
from guideway.store.database import Database


def add(database: Database, release: Release) -> Release:
    """Record a release; the same digest keeps its first number. ``number`` is given here."""
    with database.transaction():
        known = by_digest(database, release.digest)
        if known:
            return known
        row = database.row("SELECT COALESCE(MAX(number), 0) + 1 AS next FROM releases WHERE name = ?", release.name)
        numbered = msgspec.structs.replace(release, number=row["next"] if row else 1)
        text = msgspec.json.encode(numbered).decode()
        values = (numbered.digest, numbered.name, numbered.number, text)
        database.execute("INSERT INTO releases VALUES (?,?,?,?)", *values)
    return numbered


def by_digest(database: Database, digest: Digest) -> Release | None:
    """One release by its whole digest."""
    row = database.row("SELECT body FROM releases WHERE digest = ?", digest)
    return msgspec.json.decode(row["body"], type=Release) if row else None


def all_of(database: Database, name: str | None = None) -> list[Release]:
    """Releases, the newest first."""
    rows = database.rows("SELECT body FROM releases WHERE ? IS NULL OR name = ? ORDER BY name, number DESC", name, name)
    return [msgspec.json.decode(row["body"], type=Release) for row in rows]


def find(database: Database, text: str) -> Release:
    """The release that people mean by a digest, its first digits, ``name:3``, ``3`` or ``v3``.

    Raises:
        SpecError: none, or more than one.
    """
    found = [release for release in all_of(database) if _means(release, text)]
    if len(found) == 1:
        return found[0]
    problem = "no release here is called" if not found else "more than one release is called"
    raise SpecError(f"{problem} '{text}'", try_this="`guideway releases` lists them")


def _means(release: Release, text: str) -> bool:
    if text.removeprefix("v").isdigit() and len(text) < 7:
        return str(release.number) == text.removeprefix("v")
    if text == f"{release.name}:{release.number}":
        return True
    digits = text.removeprefix("sha256:")
    return len(digits) >= 4 and release.digest.removeprefix("sha256:").startswith(digits)


def put_admission(
    database: Database, *, release: Digest, environment: str, verdict: str, envelope: Digest, at: float
) -> None:
    """Record that a release was judged for an environment."""
    values = (release, environment, verdict, envelope, at)
    database.execute("INSERT OR REPLACE INTO admissions VALUES (?,?,?,?,?)", *values)


def admission(database: Database, release: Digest, environment: str) -> Digest | None:
    """The envelope of the admission of *release* into *environment*, if it passed."""
    row = database.row(
        "SELECT envelope FROM admissions WHERE release = ? AND environment = ? AND verdict = 'PASS'",
        release,
        environment,
    )
    return str(row["envelope"]) if row else None


def digests(database: Database) -> set[Digest]:
    """Every blob that rows name: manifests and files of releases, envelopes of admissions."""
    envelopes = {str(row["envelope"]) for row in database.rows("SELECT envelope FROM admissions")}
    found = all_of(database)
    return envelopes | {digest for one in found for digest in (one.digest, *(file.digest for file in one.files))}


def label(release: Release) -> str:
    """What people read: ``pydoc-assistant:3 (1f3a9c0b2d4e)``."""
    return f"{release.name}:{release.number} ({short(release.digest)})"


def newest(database: Database, name: str) -> Release:
    """The newest release called *name*.

    Raises:
        SpecError: there is none.
    """
    found = all_of(database, name)
    if not found:
        raise SpecError(f"there is no release of '{name}' yet", try_this="`guideway build` makes one")
    return found[0]
