"""Open a dossier: read what is attached to a release or kept about it, and believe only what a trusted key signed."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec

from guideway.core.artifact import Artifact, Digest, File, digest_bytes, digest_of
from guideway.core.dossier import Approval, Proof, Waiver
from guideway.core.errors import Corrupt
from guideway.core.evidence import read_evidence
from guideway.signing import dsse, statements
from guideway.signing.keys import Verifier

MODEL_STEPS = ("compress", "train")
LONGEST_WAIVER = 365 * 86400.0
"""Seconds: nobody answers for longer, whatever was signed."""
WAIVER_FIELDS = {"clauses", "environment", "reason", "since", "until"}


class Said(msgspec.Struct, frozen=True):
    """One statement that a trusted key signed: its envelope, who signed, and what it says."""

    envelope: Digest
    signer: str
    key: str
    statement: dict[str, Any]

    @property
    def kind(self) -> str:
        """The predicate type."""
        return str(self.statement.get("predicateType"))

    @property
    def predicate(self) -> dict[str, Any]:
        """What is said."""
        found: dict[str, Any] = self.statement.get("predicate") or {}
        return found

    @property
    def subjects(self) -> set[Digest]:
        """The digests that it is about."""
        return statements.subjects(self.statement)


class _Sha256(msgspec.Struct, frozen=True):
    sha256: str


class _Named(msgspec.Struct, frozen=True):
    name: str
    digest: _Sha256


class _ByProduct(msgspec.Struct, frozen=True):
    annotations: dict[str, Any] = {}


class _RunDetails(msgspec.Struct, frozen=True):
    byproducts: tuple[_ByProduct, ...] = ()


class _Definition(msgspec.Struct, frozen=True, rename="camel"):
    external_parameters: dict[str, Any] = {}
    resolved_dependencies: tuple[_Named, ...] = ()


class _Provenance(msgspec.Struct, frozen=True, rename="camel"):
    build_definition: _Definition = _Definition()
    run_details: _RunDetails = _RunDetails()


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    predicate_type: str
    subject: Annotated[tuple[_Named, ...], msgspec.Meta(min_length=1)]
    predicate: dict[str, Any]


def heard(envelopes: Iterable[bytes], trusted: Mapping[str, Verifier]) -> tuple[Said, ...]:
    """The statements among *envelopes* that a trusted key signed; anybody may attach, so the rest is passed over.

    So are statements of other tools, whose keys may be trusted too, that name subjects or inputs in another way.
    """
    found = []
    for text in envelopes:
        with contextlib.suppress(Corrupt, msgspec.ValidationError):
            opened = dsse.opened(text, trusted)
            shape = msgspec.convert(opened.statement, _Statement)
            if shape.predicate_type == statements.PROVENANCE:
                msgspec.convert(shape.predicate, _Provenance)
            found.append(Said(digest_bytes(text), opened.by[0].name, opened.by[0].id, opened.statement))
    return tuple(found)


def chain(said: Sequence[Said], package: Digest) -> tuple[dict[str, Digest], int]:
    """The artifact of each step that led to *package*, by name; and how many inputs no trusted provenance explains.

    Steps beside the way (evaluate, scan) belong to it when everything they read does.
    """
    made = {
        (one.statement["subject"][0]["name"], digest): one
        for one in said
        if one.kind == statements.PROVENANCE
        for digest in one.subjects
    }
    found, unexplained, waiting = {"package": package}, 0, [("package", package)]
    while waiting:
        name, digest = waiting.pop()
        source = made.get((name, digest))
        if source is None:
            unexplained += 1
            continue
        for dependency, needed in _dependencies(source).items():
            if dependency not in found:
                found[dependency] = needed
                waiting.append((dependency, needed))
    beside = {
        name: digest
        for (name, digest), one in made.items()
        if name not in found and set(_dependencies(one).items()) <= set(found.items())
    }
    return found | beside, unexplained


def steps_of(said: Sequence[Said], subjects: Mapping[str, Digest]) -> dict[str, dict[str, Any]]:
    """The parameters of each step that made *subjects*."""
    return {
        name: one.predicate.get("buildDefinition", {}).get("externalParameters", {})
        for one in said
        if one.kind == statements.PROVENANCE
        for name, digest in subjects.items()
        if digest in one.subjects and one.statement["subject"][0]["name"] == name
    }


def ships(subjects: Mapping[str, Digest], steps: Mapping[str, Mapping[str, Any]]) -> str:
    """The role of the model that serves: what the package step says, or the last model step there is."""
    said = steps.get("package", {}).get("model")
    if said in subjects:
        return str(said)
    return next((name for name in MODEL_STEPS if name in subjects), "package")


def package_of(files: Sequence[File]) -> Digest:
    """The digest of the artifact that *files* were packed from: ties a release to the provenance of its package."""
    return Artifact.of(list(files)).digest


def proofs(said: Sequence[Said]) -> tuple[Proof, ...]:
    """Every piece of evidence in *said*, once."""
    found: dict[Digest, Proof] = {}
    for one in said:
        for plain in _evidence_in(one):
            with contextlib.suppress(msgspec.ValidationError):  # of a schema that this version does not know
                evidence = read_evidence(plain)
                digest = digest_of(evidence)
                found.setdefault(digest, Proof(evidence, digest, one.envelope, one.signer))
    return tuple(found.values())


def approvals(said: Sequence[Said], release: Digest) -> tuple[Approval, ...]:
    """Who let *release* into which environment."""
    return tuple(
        Approval(
            release=release,
            environment=str(one.predicate.get("environment", "")),
            by=one.signer,
            key=one.key,
            why=str(one.predicate.get("why", "")),
            at=_seconds(one.predicate.get("at")),
            envelope=one.envelope,
            older=bool(one.predicate.get("older", False)),
        )
        for one in said
        if one.kind == statements.APPROVAL and release in one.subjects
    )


def waivers(said: Sequence[Said]) -> tuple[Waiver, ...]:
    """What may pass unproven, as far as it is well formed and for no longer than a waiver may last."""
    found = (_waiver(one) for one in said if one.kind == statements.WAIVER and one.predicate.keys() >= WAIVER_FIELDS)
    return tuple(one for one in found if one.until <= one.since + LONGEST_WAIVER)


def _waiver(one: Said) -> Waiver:
    return Waiver(
        envelope=one.envelope,
        name=str(one.statement["subject"][0]["name"]),
        environment=str(one.predicate["environment"]),
        clauses=tuple(map(str, one.predicate["clauses"])),
        reason=str(one.predicate["reason"]),
        signer=one.signer,
        since=_seconds(one.predicate["since"]),
        until=_seconds(one.predicate["until"]),
    )


def authors(said: Sequence[Said], release: Digest) -> tuple[str, ...]:
    """The ids of the keys that sealed *release*."""
    return tuple(sorted({one.key for one in said if one.kind == statements.RELEASE and release in one.subjects}))


def _seconds(text: Any) -> float:
    """Seconds since 1970 of an ISO 8601 time; what cannot be read is long past."""
    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _dependencies(said: Said) -> dict[str, Digest]:
    resolved = said.predicate.get("buildDefinition", {}).get("resolvedDependencies", ())
    return {str(one["name"]): "sha256:" + one["digest"]["sha256"] for one in resolved}


def _evidence_in(said: Said) -> list[dict[str, Any]]:
    if said.kind == statements.EVIDENCE:
        own: list[dict[str, Any]] = said.predicate.get("evidence", [])
        return own
    if said.kind != statements.PROVENANCE:
        return []
    byproducts = said.predicate.get("runDetails", {}).get("byproducts", ())
    return [plain for one in byproducts for plain in one.get("annotations", {}).get("evidence", ())]
