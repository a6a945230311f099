"""Sign evidence, approvals and waivers: who says what about which digest, kept and attached where it belongs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from guideway.core.artifact import Digest
from guideway.core.dossier import Waiver, environment_subject
from guideway.core.errors import SpecError
from guideway.core.evidence import Evidence
from guideway.core.release import Release
from guideway.sealing.dossier import LONGEST_WAIVER
from guideway.sealing.pack import attach, descriptor_of
from guideway.signing import dsse, statements
from guideway.signing.keys import Signer
from guideway.store import evidence as kept
from guideway.store import ledger, waivers
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.evidence import Kept


def attest(
    blobs: Blobs,
    database: Database,
    signer: Signer,
    facts: Sequence[Evidence],
    *,
    release: Release | None = None,
    what: str = "evidence",
    why: str = "",
    at: float,
) -> Digest:
    """Sign *facts* in one statement, keep them, and attach them to *release* if one is given; the envelope's digest."""
    subjects = {f"{one.subject.kind} {one.subject.role}".strip(): one.subject.digest for one in facts}
    text = dsse.seal(statements.evidence(subjects=subjects, found=facts), signer)
    envelope = blobs.put_bytes(text)
    if release:
        attach(blobs, descriptor_of(blobs, release.digest), dsse.MEDIA_TYPE, text)
    with database.transaction():
        for one in facts:
            kept.put(database, Kept.of(one, envelope=envelope, signer=signer.name))
        subject = release.digest if release else facts[0].subject.digest
        data = {"envelope": envelope, "metrics": sorted({one.metric for one in facts})}
        ledger.append(database, at=at, who=signer.name, what=what, subject=subject, why=why, data=data)
    return envelope


def approve(
    blobs: Blobs,
    database: Database,
    signer: Signer,
    release: Release,
    *,
    environment: str,
    why: str,
    older: bool,
    at: float,
) -> Digest:
    """Sign that *release* may go into *environment*; the envelope's digest. It is attached to the release."""
    said = statements.approval(
        name=release.name, release=release.digest, environment=environment, why=why, older=older, at=iso(at)
    )
    envelope = attach(blobs, descriptor_of(blobs, release.digest), dsse.MEDIA_TYPE, dsse.seal(said, signer))
    data = {"environment": environment, "older": older, "envelope": envelope}
    ledger.append(database, at=at, who=signer.name, what="approve", subject=release.digest, why=why, data=data)
    return envelope


def waive(
    blobs: Blobs,
    database: Database,
    signer: Signer,
    *,
    name: str,
    environment: str,
    clauses: Sequence[str],
    reason: str,
    since: float,
    until: float,
) -> Waiver:
    """Sign that *clauses* may pass unproven for the model *name* in *environment* (``*``: in all).

    Raises:
        SpecError: no reason, no clause, or a time that is past or longer than a year.
    """
    _check_waiver(reason, since, until)
    said = statements.waiver(
        name=name,
        subject=environment_subject(name, environment),
        environment=environment,
        clauses=clauses,
        reason=reason,
        since=iso(since),
        until=iso(until),
    )
    envelope = blobs.put_bytes(dsse.seal(said, signer))
    waiver = Waiver(
        envelope=envelope,
        name=name,
        environment=environment,
        clauses=tuple(sorted(set(clauses))),
        reason=reason,
        signer=signer.name,
        since=since,
        until=until,
    )
    with database.transaction():
        waivers.put(database, waiver)
        data = {"clauses": list(clauses), "until": until, "envelope": envelope}
        subject = f"{name} in {environment}"
        ledger.append(database, at=since, who=signer.name, what="waive", subject=subject, why=reason, data=data)
    return waiver


def _check_waiver(reason: str, since: float, until: float) -> None:
    if not reason.strip():
        raise SpecError("a waiver needs a reason", try_this="--reason 'why this may pass unproven'")
    if not since < until <= since + LONGEST_WAIVER:
        raise SpecError("a waiver ends in the future, within a year", try_this="--until 2027-01-31")


def iso(at: float) -> str:
    """Seconds since 1970 as people and other tools write them."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds")
