"""Seal: pack what was proven, sign it, and refuse the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guideway.core.artifact import Digest, File
from guideway.core.errors import Refused
from guideway.core.gate import Judgement, Verdict
from guideway.core.release import Release
from guideway.sealing.pack import REF_NAME, attachment, pack
from guideway.signing import dsse, statements
from guideway.signing.keys import Signer
from guideway.store import ledger, releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database


def seal(
    blobs: Blobs,
    database: Database,
    signer: Signer,
    *,
    name: str,
    files: Sequence[File],
    judgements: Sequence[Judgement],
    proofs: Iterable[Digest],
    facts: Mapping[str, str],
    at: float,
) -> Release:
    """The sealed release of *files*; the same files give the same release.

    *proofs* are the envelopes of the steps, attached beside the digest.

    Raises:
        Refused: a blocking judgement is FAIL or UNKNOWN. The refusal goes to the ledger, nothing else is kept.
    """
    refuse(database, signer, judgements, subject=name, step="seal", at=at)
    with blobs.writing():
        descriptor = pack(blobs, name, files, facts=facts)
        known = releases.by_digest(database, descriptor["digest"])
        if known:
            return known
        payloads = [*map(blobs.read, proofs), dsse.seal(_statement(name, descriptor["digest"]), signer)]
        beside = [attachment(blobs, descriptor, dsse.MEDIA_TYPE, payload) for payload in payloads]
        release = Release(digest=descriptor["digest"], name=name, number=0, created=at, files=tuple(files))
        return _make_known(blobs, database, signer, release, descriptor=descriptor, beside=beside)


def _statement(name: str, digest: Digest) -> dict[str, Any]:
    return statements.statement(statements.RELEASE, {name: digest}, {"purl": f"pkg:oci/{name}@{digest}"})


def _make_known(
    blobs: Blobs,
    database: Database,
    signer: Signer,
    release: Release,
    *,
    descriptor: Mapping[str, Any],
    beside: Sequence[dict[str, Any]],
) -> Release:
    """List the release and what lies beside it in one write, and commit the row after it: a row means all of it."""
    with database.transaction():
        known = releases.by_digest(database, release.digest)
        if known:  # another publisher came first
            return known
        numbered = releases.add(database, release)
        why = "every blocking clause passed"
        ledger.append(database, at=release.created, who=signer.name, what="seal", subject=numbered.digest, why=why)
        listed = {**descriptor, "annotations": {REF_NAME: f"{numbered.name}-{numbered.number}"}}
        blobs.add_to_index(*beside, listed)
    return numbered


def refuse(
    database: Database, signer: Signer, judgements: Sequence[Judgement], *, subject: str, step: str, at: float
) -> None:
    """Raise if a blocking judgement did not pass; the reason is kept in the ledger."""
    against = [one for one in judgements if one.blocking and one.verdict is not Verdict.PASS]
    if not against:
        return
    reasons = "; ".join(f"{one.clause} {one.verdict}: {one.asks}: {one.figure}, limit {one.limit}" for one in against)
    ledger.append(database, at=at, who=signer.name, what=f"{step} refused", subject=subject, why=reasons)
    more = "".join(f"; also {one.clause} {one.verdict}: {one.asks}" for one in against[1:])
    first = against[0]
    raise Refused(
        f"{step} refused: {first.clause} {first.verdict}: {first.asks}: {first.figure}, limit {first.limit}{more}",
        where=subject,
        try_this=first.try_this or None,
    )
