"""In-toto statements v1: about which digests, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Refused
from guideway.core.evidence import Evidence

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
    digests = (one.get("digest", {}).get("sha256") for one in found.get("subject", ()))
    return {f"sha256:{digest}" for digest in digests if digest}


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


def released(*, name: str, release: Digest, beside: Iterable[tuple[str, Digest]] = ()) -> dict[str, Any]:
    """This release exists, and these attachments (media type, digest) belong to it: without them it is not whole."""
    return statement(
        RELEASE,
        {name: release},
        {
            "purl": f"pkg:oci/{name}@{release}",
            "byproducts": [{"mediaType": kind, "digest": _digest_set(digest)} for kind, digest in beside],
        },
    )


def byproducts(found: Mapping[str, Any]) -> list[tuple[str, Digest]]:
    """The attachments that a release statement names, as (media type, digest)."""
    listed = found["predicate"].get("byproducts", ())
    return [(one["mediaType"], "sha256:" + one["digest"]["sha256"]) for one in listed]


def verification(
    *,
    release: Digest,
    name: str,
    policy: str,
    verdict: str,
    at: str,
    inputs: Sequence[Digest],
    policy_digest: Digest | None = None,
) -> dict[str, Any]:
    """A verification summary: this release, judged under this policy (an environment), with this result.

    Only the verdicts "PASS" and "PASSED" pass; *policy_digest* says which text of the policy was applied.
    """
    by_digest = {"digest": _digest_set(policy_digest)} if policy_digest else {}
    return statement(
        VERIFICATION,
        {name: release},
        {
            "verifier": {"id": "urn:guideway:admit:v1"},
            "timeVerified": at,
            "policy": {"uri": policy, **by_digest},
            "inputAttestations": [{"digest": _digest_set(digest)} for digest in inputs],
            "verificationResult": "PASSED" if verdict in ("PASS", "PASSED") else "FAILED",
            "verifiedLevels": [],
        },
    )


def test_result(
    *,
    subjects: Mapping[str, Digest],
    result: Literal["PASSED", "WARNED", "FAILED"],
    configuration: Mapping[str, Digest],
    url: str | None = None,
    passed: Iterable[str] = (),
    warned: Iterable[str] = (),
    failed: Iterable[str] = (),
) -> dict[str, Any]:
    """What an evaluation or a security test found about *subjects*, run with *configuration* (name to digest)."""
    tests = {"passedTests": passed, "warnedTests": warned, "failedTests": failed}
    return statement(
        TEST_RESULT,
        subjects,
        {
            "result": result,
            "configuration": [{"name": key, "digest": _digest_set(one)} for key, one in sorted(configuration.items())],
            **({"url": url} if url else {}),
            **{key: sorted(names) for key, names in tests.items()},
        },
    )


def evidence(*, subjects: Mapping[str, Digest], found: Sequence[Evidence]) -> dict[str, Any]:
    """Measured facts about *subjects*.

    Raises:
        Refused: a fact is about something else.
    """
    for one in found:
        if one.subject.digest not in subjects.values():
            raise Refused(f"the evidence '{one.metric}' is about another digest", where=one.subject.digest)
    return statement(EVIDENCE, subjects, {"evidence": [msgspec.to_builtins(one) for one in found]})


def approval(*, name: str, release: Digest, environment: str, why: str, older: bool, at: str) -> dict[str, Any]:
    """A person lets *release* into *environment*; *older* if they know that a newer one served there."""
    said = {"environment": environment, "why": why, "older": older, "at": at}
    return statement(APPROVAL, {name: release}, said)


def waiver(
    *, name: str, subject: Digest, clauses: Iterable[str], environment: str, reason: str, since: str, until: str
) -> dict[str, Any]:
    """A person answers for *clauses* that *name* does not meet in *environment*; *subject* stands for both."""
    said = {"environment": environment, "reason": reason, "since": since, "until": until}
    return statement(WAIVER, {name: subject}, {"clauses": sorted(set(clauses)), **said})


def _digest_set(digest: Digest) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}
