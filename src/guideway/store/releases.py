"""Releases and admissions as rows; their bytes are blobs."""

from __future__ import annotations

import string

import msgspec
from sqlalchemy import ColumnElement, func, select

from guideway.core.artifact import Digest, short
from guideway.core.errors import SpecError
from guideway.core.release import Release
from guideway.store import tables
from guideway.store.database import Database

_RELEASES, _ADMISSIONS = tables.releases, tables.admissions
_FEWEST_DIGITS = 4
"""As many of a digest's first digits as people must give at least."""


def add(database: Database, release: Release) -> Release:
    """Record a release; the same digest keeps its first number. ``number`` is given here."""
    with database.transaction():
        known = by_digest(database, release.digest)
        if known:
            return known
        last = database.row(select(func.max(_RELEASES.c.number)).where(_RELEASES.c.name == release.name))
        numbered = msgspec.structs.replace(release, number=(last[0] or 0) + 1 if last else 1)
        text = msgspec.json.encode(numbered).decode()
        database.put_once(_RELEASES, digest=numbered.digest, name=numbered.name, number=numbered.number, body=text)
    return numbered


def by_digest(database: Database, digest: Digest) -> Release | None:
    """One release by its whole digest."""
    found = _found(database, _RELEASES.c.digest == digest)
    return found[0] if found else None


def all_of(database: Database, name: str | None = None) -> list[Release]:
    """Releases, the newest first."""
    query = select(_RELEASES.c.body).order_by(_RELEASES.c.name, _RELEASES.c.number.desc())
    rows = database.rows(query if name is None else query.where(_RELEASES.c.name == name))
    return [msgspec.json.decode(row.body, type=Release) for row in rows]


def find(database: Database, text: str) -> Release:
    """The release that people mean by a digest, its first digits, ``name:3``, ``3`` or ``v3``.

    Raises:
        SpecError: none, or more than one.
    """
    meant = {release.digest: release for one in _meanings(text) for release in _found(database, one)}
    if len(meant) == 1:
        return next(iter(meant.values()))
    problem = "no release here is called" if not meant else "more than one release is called"
    raise SpecError(f"{problem} '{text}'", try_this="`guideway releases` lists them")


def looks_like_one(database: Database, text: str) -> bool:
    """Is *text* written as a release is: ``3``, ``v3``, ``name:3``, or the beginning of a digest that is here?"""
    if _is_number(text.rpartition(":")[2].removeprefix("v")):
        return not any(map(str.isspace, text))
    return any(_found(database, one) for one in _meanings(text))


def _meanings(text: str) -> list[ColumnElement[bool]]:
    """What *text* may mean. A short number is never the beginning of a digest."""
    number = text.removeprefix("v")
    if _is_number(number) and len(text) < 7:
        return [_RELEASES.c.number == int(number)]
    name, colon, number = text.rpartition(":")
    found: list[ColumnElement[bool]] = []
    if colon and _is_number(number):
        found.append((_RELEASES.c.name == name) & (_RELEASES.c.number == int(number)))
    digits = text.removeprefix("sha256:")
    if len(digits) >= _FEWEST_DIGITS:
        found.append(tables.begins(_RELEASES.c.digest, digits))
    return found


def _is_number(text: str) -> bool:
    return 0 < len(text) < 10 and set(text) <= set(string.digits)


def _found(database: Database, condition: ColumnElement[bool]) -> list[Release]:
    rows = database.rows(select(_RELEASES.c.body).where(condition).limit(2))
    return [msgspec.json.decode(row.body, type=Release) for row in rows]


def put_admission(
    database: Database, *, release: Digest, environment: str, verdict: str, envelope: Digest, at: float
) -> None:
    """Record that a release was judged for an environment."""
    database.put(_ADMISSIONS, release=release, environment=environment, verdict=verdict, envelope=envelope, at=at)


def admission(database: Database, release: Digest, environment: str) -> Digest | None:
    """The envelope of the admission of *release* into *environment*, if it passed."""
    of_both = (_ADMISSIONS.c.release == release) & (_ADMISSIONS.c.environment == environment)
    row = database.row(select(_ADMISSIONS.c.envelope).where(of_both & (_ADMISSIONS.c.verdict == "PASS")))
    return str(row.envelope) if row else None


def admitted_at(database: Database, release: Digest, environment: str) -> float | None:
    """When *release* was admitted into *environment* last (seconds since 1970); None if it never was."""
    of_both = (_ADMISSIONS.c.release == release) & (_ADMISSIONS.c.environment == environment)
    row = database.row(select(_ADMISSIONS.c.at).where(of_both & (_ADMISSIONS.c.verdict == "PASS")))
    return float(row.at) if row else None


def digests(database: Database) -> set[Digest]:
    """Every blob that rows name: manifests and files of releases, envelopes of admissions."""
    envelopes = {str(row.envelope) for row in database.rows(select(_ADMISSIONS.c.envelope))}
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
    query = select(_RELEASES.c.body).where(_RELEASES.c.name == name).order_by(_RELEASES.c.number.desc()).limit(1)
    row = database.row(query)
    if row is None:
        raise SpecError(f"there is no release of '{name}' yet", try_this="`guideway build` makes one")
    return msgspec.json.decode(row.body, type=Release)
