"""Seal: pack what was proven, sign it, and refuse the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guideway.core.artifact import Digest, File
from guideway.core.errors import Refused
from guideway.core.gate import Judgement, Verdict
from guideway.core.release import Release
from guideway.sealing.pack import attach, pack
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
    descriptor = pack(blobs, name, files, facts=facts)
    known = releases.by_digest(database, descriptor["digest"])
    if known and release_statements(blobs, known.digest, {signer.id: signer}):
        for proof in proofs:
            attach(blobs, descriptor, dsse.MEDIA_TYPE, blobs.read(proof))
        return known
    texts = [*(blobs.read(proof) for proof in proofs), *_result(signer, descriptor, name, judgements, policy)]
    _sign(blobs, signer, descriptor, name=name, files=files, texts=texts)
    if known:  # sealed before, but not by this key: the one that did may be revoked by now
        ledger.append(database, at=at, who=signer.name, what="sign again", subject=known.digest, why=signer.id)
        return known
    release = Release(digest=descriptor["digest"], name=name, number=0, created=at, files=tuple(files))
    with database.transaction():
        numbered = releases.add(database, release)
        ledger.append(
            database, at=at, who=signer.name, what="seal", subject=numbered.digest, why="every blocking clause passed"
        )
    blobs.add_to_index(
        {**descriptor, "annotations": {"org.opencontainers.image.ref.name": f"{name}-{numbered.number}"}}
    )
    return numbered


def _sign(
    blobs: Blobs,
    signer: Signer,
    descriptor: Mapping[str, Any],
    *,
    name: str,
    files: Sequence[File],
    texts: Iterable[bytes],
) -> None:
    """Attach *texts*, a model signature if installation and key can make one, and the statement that names all."""
    beside = [(dsse.MEDIA_TYPE, attach(blobs, descriptor, dsse.MEDIA_TYPE, text)) for text in texts]
    if signer.kind == P256 and oms.available():
        bundle = oms.sign_model(files, signer, name=name)
        beside.append((oms.MEDIA_TYPE, attach(blobs, descriptor, oms.MEDIA_TYPE, bundle)))
    said = statements.released(name=name, release=descriptor["digest"], beside=beside)
    attach(blobs, descriptor, dsse.MEDIA_TYPE, dsse.seal(said, signer))


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
