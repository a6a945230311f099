"""Evidence as rows, by digest, by subject and by time. The signed envelopes are blobs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Select, select

from guideway.core.artifact import Digest, digest_of
from guideway.core.errors import SpecError
from guideway.core.evidence import Evidence, read_evidence
from guideway.store import tables
from guideway.store.database import Database

_T = tables.evidence


class Kept(msgspec.Struct, frozen=True):
    """A fact as it is kept: its digest, the envelope that it was signed in, and who signed."""

    evidence: Evidence
    digest: Digest
    envelope: Digest
    signer: str

    @classmethod
    def of(cls, evidence: Evidence, *, envelope: Digest, signer: str) -> Kept:
        """The fact with its digest."""
        return cls(evidence, digest_of(evidence), envelope, signer)


def put(database: Database, kept: Kept) -> None:
    """Keep a fact. The same digest is kept once, with the envelope that came first."""
    fact = kept.evidence
    database.put_once(
        _T,
        digest=kept.digest,
        subject_kind=fact.subject.kind,
        subject=fact.subject.digest,
        metric=fact.metric,
        slice=fact.slice,
        at=fact.at,
        valid_until=fact.valid_until,
        automatic=fact.automatic,
        signer=kept.signer,
        envelope=kept.envelope,
        body=msgspec.json.encode(fact).decode(),
    )


def about(database: Database, subjects: Iterable[Digest]) -> list[Kept]:
    """All facts about any of *subjects*, the oldest first."""
    return _kept(database, _all().where(_T.c.subject.in_(sorted(set(subjects)))).order_by(_T.c.at, _T.c.digest))


def of_metrics(database: Database, metrics: Iterable[str]) -> list[Kept]:
    """All facts of any of *metrics*, whatever they are about, the oldest first."""
    return _kept(database, _all().where(_T.c.metric.in_(sorted(set(metrics)))).order_by(_T.c.at, _T.c.digest))


def by_digest(database: Database, text: str) -> Kept:
    """The fact with this digest, or with these first digits of one.

    Raises:
        SpecError: none, or more than one.
    """
    found = _kept(database, _all().where(tables.begins(_T.c.digest, text.removeprefix("sha256:"))).limit(2))
    if len(found) == 1:
        return found[0]
    problem = "no evidence here is called" if not found else "more than one piece of evidence begins with"
    raise SpecError(f"{problem} '{text}'", try_this="`guideway evidence` lists it")


def all_of(database: Database, *, limit: int = 100) -> list[Kept]:
    """The newest *limit* facts, the newest first."""
    return _kept(database, _all().order_by(_T.c.at.desc(), _T.c.digest.desc()).limit(limit))


def digests(database: Database) -> set[Digest]:
    """Every blob that rows name: the envelopes, and the reports that people brought."""
    envelopes = {str(row.envelope) for row in database.rows(select(_T.c.envelope).distinct())}
    brought = _kept(database, _all().where(_T.c.automatic.is_(False)))
    return envelopes | {digest for one in brought for digest in one.evidence.inputs}


def _all() -> Select[tuple[str, str, str, str]]:
    return select(_T.c.body, _T.c.digest, _T.c.envelope, _T.c.signer)


def _kept(database: Database, query: Select[tuple[str, str, str, str]]) -> list[Kept]:
    return [
        Kept(read_evidence(msgspec.json.decode(row.body)), row.digest, row.envelope, row.signer)
        for row in database.rows(query)
    ]
