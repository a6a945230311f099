"""In-toto statements v1: about which digests, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from guideway.core.artifact import Digest

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
VERIFICATION = "https://slsa.dev/verification_summary/v1"
RELEASE = "https://in-toto.io/attestation/release/v0.1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
EVIDENCE = "urn:guideway:evidence:v1"
APPROVAL = "urn:guideway:approval:v1"
WAIVER = "urn:guideway:waiver:v1"


def statement(kind: str, subjects: Mapping[str, Digest], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """A statement of type *kind* about *subjects* (name to digest)."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": _digest_set(digest)} for name, digest in sorted(subjects.items())],
        "predicateType": kind,
        "predicate": dict(predicate),
    }


def subjects(found: Mapping[str, Any]) -> set[Digest]:
    """The digests that a statement is about."""
    return {"sha256:" + one["digest"]["sha256"] for one in found.get("subject", ())}


def provenance(
    *,
    name: str,
    output: Digest,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Digest],
    builder: str,
    run: str,
    evidence: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """SLSA provenance v1 of one step; the evidence that it left is a by-product."""
    return statement(
        PROVENANCE,
        {name: output},
        {
            "buildDefinition": {
                "buildType": "urn:guideway:stage:v1",
                "externalParameters": dict(parameters),
                "resolvedDependencies": [
                    {"name": key, "digest": _digest_set(digest)} for key, digest in sorted(inputs.items())
                ],
            },
            "runDetails": {
                "builder": {"id": builder},
                "metadata": {"invocationId": run},
                "byproducts": [{"name": "evidence", "annotations": {"evidence": list(evidence)}}],
            },
        },
    )


def verification(
    *, release: Digest, name: str, policy: str, verdict: str, at: str, inputs: Sequence[Digest]
) -> dict[str, Any]:
    """A verification summary: this release, judged under this policy (an environment), with this result."""
    return statement(
        VERIFICATION,
        {name: release},
        {
            "verifier": {"id": "urn:guideway:admit:v1"},
            "timeVerified": at,
            "policy": {"uri": policy},
            "inputAttestations": [{"digest": _digest_set(digest)} for digest in inputs],
            "verificationResult": "PASSED" if verdict == "PASS" else "FAILED",
            "verifiedLevels": [],
        },
    )


def _digest_set(digest: Digest) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}
