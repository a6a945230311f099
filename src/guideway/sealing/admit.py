"""Admit: judge a release for one environment, and leave a signed summary."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from guideway.core.artifact import Digest
from guideway.core.gate import Judgement
from guideway.core.release import Release
from guideway.sealing.pack import attach, read_manifest
from guideway.sealing.seal import refuse
from guideway.sealing.verify import check_signature
from guideway.signing import dsse, statements
from guideway.signing.keys import Signer, Verifier
from guideway.store import ledger, releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database


def admit(
    blobs: Blobs,
    database: Database,
    signer: Signer,
    trusted: Mapping[str, Verifier],
    release: Release,
    *,
    environment: str,
    judgements: Sequence[Judgement],
    at: float,
) -> Digest:
    """Let *release* into *environment*; the digest of the signed verification summary.

    A release that was admitted there before is not judged again.

    Raises:
        Refused: a blocking judgement is FAIL or UNKNOWN.
        Corrupt: the release is not signed by a trusted key.
    """
    known = releases.admission(database, release.digest, environment)
    if known:
        return known
    manifest = read_manifest(blobs, release.digest)
    check_signature(blobs, release.digest, trusted)
    refuse(database, signer, judgements, subject=f"{release.name}:{release.number}", step="admit", at=at)
    summary = statements.verification(
        release=release.digest,
        name=release.name,
        policy=f"urn:guideway:environment:{environment}",
        verdict="PASS",
        at=datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="seconds"),
        inputs=[one.evidence for one in judgements if one.evidence],
    )
    size = blobs.path(release.digest).stat().st_size
    descriptor = {"mediaType": manifest["mediaType"], "digest": release.digest, "size": size}
    with blobs.writing(), database.transaction():
        envelope = attach(blobs, descriptor, dsse.MEDIA_TYPE, dsse.seal(summary, signer))
        releases.put_admission(
            database, release=release.digest, environment=environment, verdict="PASS", envelope=envelope, at=at
        )
        ledger.append(database, at=at, who=signer.name, what="admit", subject=release.digest, why=environment)
    return envelope
