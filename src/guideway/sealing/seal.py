"""Seal: pack what was proven, sign it, and refuse the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guideway.core.artifact import Digest, File, digest_bytes
from guideway.core.errors import Refused
from guideway.core.gate import Judgement, Verdict
from guideway.core.release import Release
from guideway.sealing.pack import REF_NAME, attachment, pack
from guideway.sealing.verify import release_statements
from guideway.signing import dsse, oms, statements
from guideway.signing.keypair import P256
from guideway.signing.keys import Signer
from guideway.store import ledger, releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database

SHOWN = 3
"""Clauses that one line of refusal names; the ledger has all of them."""


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
    policy: Digest | None = None,
) -> Release:
    """The sealed release of *files*; the same files give the same release, and new *proofs* of it are added to the old.

    *proofs* are envelopes (of steps, evidence, waivers), attached beside the digest; *policy* is the digest of what
    was asked.

    Raises:
        Refused: a blocking judgement is FAIL or UNKNOWN. The refusal goes to the ledger, nothing else is kept.
    """
    refuse(database, signer, judgements, subject=name, step="seal", at=at)
    with blobs.writing():
        descriptor = pack(blobs, name, files, facts=facts)
        known = releases.by_digest(database, descriptor["digest"])
        texts = [blobs.read(proof) for proof in proofs]
        if known and release_statements(blobs, known.digest, {signer.id: signer}):
            blobs.add_to_index(*(attachment(blobs, descriptor, dsse.MEDIA_TYPE, text) for text in texts))
            return known
        texts += _result(signer, descriptor, name, judgements, policy)
        beside = _signed(blobs, signer, descriptor, name=name, files=files, texts=texts)
        if known:  # sealed before, but not by this key: the one that did may be revoked by now
            blobs.add_to_index(*beside)
            ledger.append(database, at=at, who=signer.name, what="sign again", subject=known.digest, why=signer.id)
            return known
        release = Release(digest=descriptor["digest"], name=name, number=0, created=at, files=tuple(files))
        return _make_known(blobs, database, signer, release, descriptor=descriptor, beside=beside)


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


def _signed(
    blobs: Blobs,
    signer: Signer,
    descriptor: Mapping[str, Any],
    *,
    name: str,
    files: Sequence[File],
    texts: Iterable[bytes],
) -> list[dict[str, Any]]:
    """Index entries of *texts*, of a model signature if installation and key can make one, and of what names them."""
    payloads = [(dsse.MEDIA_TYPE, text) for text in texts]
    if signer.kind == P256 and oms.available():
        payloads.append((oms.MEDIA_TYPE, oms.sign_model(files, signer, name=name)))
    named = [(kind, digest_bytes(payload)) for kind, payload in payloads]
    said = statements.released(name=name, release=descriptor["digest"], beside=named)
    payloads.append((dsse.MEDIA_TYPE, dsse.seal(said, signer)))
    return [attachment(blobs, descriptor, kind, payload) for kind, payload in payloads]


def _result(
    signer: Signer, descriptor: Mapping[str, Any], name: str, judgements: Sequence[Judgement], policy: Digest | None
) -> list[bytes]:
    """The evaluation in one signed statement that other people's tools know: which clauses passed, which did not."""
    if policy is None:
        return []
    missed = {one.clause for one in judgements if one.verdict is not Verdict.PASS}
    said = statements.test_result(
        subjects={name: descriptor["digest"]},
        result="WARNED" if missed else "PASSED",
        configuration={"standard": policy},
        passed={one.clause for one in judgements} - missed,
        warned=missed,
    )
    return [dsse.seal(said, signer)]


def refuse(
    database: Database, signer: Signer, judgements: Sequence[Judgement], *, subject: str, step: str, at: float
) -> None:
    """Raise if a blocking judgement did not pass; the reason is kept in the ledger."""
    against = [one for one in judgements if one.stops]
    if not against:
        return
    reasons = "; ".join(f"{one.clause} {one.verdict}: {one.asks}: {one.figure}, limit {one.limit}" for one in against)
    ledger.append(database, at=at, who=signer.name, what=f"{step} refused", subject=subject, why=reasons)
    more = "".join(f"; also {one.clause} {one.verdict}: {one.asks}" for one in against[1:SHOWN])
    if len(against) > SHOWN:
        more += f"; and {len(against) - SHOWN} more (`guideway assess --open` lists them)"
    first = against[0]
    raise Refused(
        f"{step} refused: {first.clause} {first.verdict}: {first.asks}: {first.figure}, limit {first.limit}{more}",
        where=subject,
        try_this=first.try_this or None,
    )
