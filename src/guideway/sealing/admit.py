"""Admit: judge a release for one environment, and leave a signed summary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guideway.core.artifact import Digest
from guideway.core.dossier import Approval
from guideway.core.errors import Corrupt, Refused
from guideway.core.evidence import Evidence
from guideway.core.gate import Judgement
from guideway.core.release import Release
from guideway.sealing.attest import attest, iso
from guideway.sealing.dossier import Said, heard
from guideway.sealing.pack import attach, attachments, descriptor_of
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
    policy: Digest | None = None,
    level: str = "",
    proofs: Iterable[Digest] = (),
    observed: Sequence[Evidence] = (),
) -> Digest:
    """Let *release* into *environment*; the digest of the signed verification summary.

    It is judged every time. When nothing changed since the last admission, that summary stands.
    *policy* is the digest of what was asked, *level* the column that it was judged by, *proofs* are envelopes to
    attach beside the release, and *observed* are facts that were seen just now, which are signed and attached too.

    Raises:
        Refused: a blocking judgement is FAIL or UNKNOWN.
        Corrupt: the release is not signed by a trusted key.
    """
    check_signature(blobs, release.digest, trusted)
    subject = f"{release.name}:{release.number}"
    refuse(database, signer, judgements, subject=f"{subject} into '{environment}'", step="admit", at=at)
    inputs = sorted({one.evidence for one in judgements if one.evidence})
    known = releases.admission(database, release.digest, environment)
    if known and _stands(blobs.read(known), trusted, policy, inputs):
        return known
    summary = _summary(release, environment, policy, inputs, at)
    descriptor = descriptor_of(blobs, release.digest)
    with blobs.writing(), database.transaction():
        for proof in proofs:
            attach(blobs, descriptor, dsse.MEDIA_TYPE, blobs.read(proof))
        if observed:
            attest(blobs, database, signer, observed, release=release, what="observed", at=at)
        envelope = attach(blobs, descriptor, dsse.MEDIA_TYPE, dsse.seal(summary, signer))
        releases.put_admission(
            database, release=release.digest, environment=environment, verdict="PASS", envelope=envelope, at=at
        )
        why, data = environment, {"level": level, "policy": policy}
        ledger.append(database, at=at, who=signer.name, what="admit", subject=release.digest, why=why, data=data)
    return envelope


def _summary(
    release: Release, environment: str, policy: Digest | None, inputs: Sequence[Digest], at: float
) -> dict[str, Any]:
    """The statement that *release* may go into *environment*."""
    return statements.verification(
        release=release.digest,
        name=release.name,
        policy=policy_uri(environment),
        policy_digest=policy,
        verdict="PASS",
        at=iso(at),
        inputs=inputs,
    )


def check_admission(
    blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier], *, environment: str, name: str = ""
) -> None:
    """Check that a trusted key admitted exactly this release into *environment*: asked before anything is started.

    Raises:
        Refused: nobody did.
    """
    said = heard(attachments(blobs, release, dsse.MEDIA_TYPE), trusted)
    if any(_admits(one, release, environment) for one in said):
        return
    raise Refused(
        f"this release was never admitted into '{environment}'",
        where=name or release,
        try_this=f"guideway ship -e {environment} judges and admits it",
    )


def check_not_older(database: Database, release: Release, approvals: Sequence[Approval], *, environment: str) -> None:
    """Refuse to bring back a release that a newer one had replaced, unless somebody approved exactly that since.

    An approval from before that admission says nothing about it: it brought the older one back another time.

    Raises:
        Refused: a newer release was admitted into *environment* before, whether it has served there or not.
    """
    newer = [
        (one, at)
        for one in releases.all_of(database, release.name)
        if one.number > release.number and (at := releases.admitted_at(database, one.digest, environment)) is not None
    ]
    since = math.floor(max((at for _, at in newer), default=0.0))  # approvals are dated in whole seconds
    allowed = any(one.older and one.environment == environment and one.at >= since for one in approvals)
    if newer and not allowed:
        label, other = (f"{one.name}:{one.number}" for one in (release, newer[0][0]))
        was_here = releases.admitted_at(database, release.digest, environment) is not None
        back = f"`guideway rollback -e {environment} --to {release.number}` if it has served there, or " * was_here
        raise Refused(
            f"admit refused: {other} was admitted into '{environment}' before, and this one is older",
            where=label,
            try_this=f"{back}`guideway approve {release.number} -e {environment} --older --as NAME`",
        )


def policy_uri(environment: str) -> str:
    """The name of what a release is judged by in *environment*."""
    return f"urn:guideway:environment:{environment}"


def _admits(said: Said, release: Digest, environment: str) -> bool:
    passed = said.kind == statements.VERIFICATION and said.predicate.get("verificationResult") == "PASSED"
    policy = said.predicate.get("policy", {}).get("uri")
    return passed and policy == policy_uri(environment) and release in said.subjects


def _stands(text: bytes, trusted: Mapping[str, Verifier], policy: Digest | None, inputs: Sequence[Digest]) -> bool:
    """Was the admission in *text* given by a key that is still trusted, on the same policy and the same evidence?"""
    try:
        said = dsse.unseal(text, trusted)["predicate"]
    except Corrupt:
        return False
    wanted = {"sha256": policy.removeprefix("sha256:")} if policy else None
    seen = sorted("sha256:" + one["digest"]["sha256"] for one in said["inputAttestations"])
    return said["policy"].get("digest") == wanted and seen == list(inputs)
