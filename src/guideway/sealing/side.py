"""One of two releases to compare, read from what was sealed and signed; nothing is taken from rows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from guideway.core.artifact import Artifact, Digest
from guideway.core.errors import Corrupt
from guideway.core.evidence import Evidence
from guideway.core.release import Release
from guideway.sealing.documents import documents
from guideway.sealing.pack import attachments, files_of, read_manifest
from guideway.signing import dsse, statements
from guideway.signing.keys import Verifier
from guideway.store.blobs import Blobs

MANIFEST, SPEC, SERVE, POLICY, LOCK = "data/manifest.json", "spec.json", "serve.json", "policy.json", "environment.lock"
LARGEST = 16 * 1024 * 1024
"""Bytes of one of these documents at the most: a manifest names every source."""


class Side(msgspec.Struct, frozen=True):
    """A release, the build part of its spec, documents by path, and the figures that trusted keys signed."""

    release: Release
    spec: Mapping[str, Any] = {}
    documents: Mapping[str, Any] = {}
    evidence: tuple[Evidence, ...] = ()


def side(blobs: Blobs, release: Release, trusted: Mapping[str, Verifier]) -> Side:
    """*release* as its own files and the statements of *trusted* keys show it.

    Raises:
        Corrupt: a file is missing, changed or broken; names it.
    """
    files = files_of(read_manifest(blobs, release.digest))
    wanted = [file for file in files if file.path in (MANIFEST, SPEC, SERVE, POLICY, LOCK)]
    found = documents(blobs, wanted, limit=LARGEST)
    spec = found.pop(SPEC, {})
    if not isinstance(spec, dict):
        raise Corrupt("this is not the build part of a spec", where=SPEC)
    evidence = _proven(blobs, release.digest, Artifact.of(list(files)).digest, trusted)
    return Side(msgspec.structs.replace(release, files=files), spec, found, evidence)


class _Named(msgspec.Struct, frozen=True):
    digest: dict[str, str]


class _Annotations(msgspec.Struct, frozen=True):
    evidence: tuple[Evidence, ...] = ()


class _ByProduct(msgspec.Struct, frozen=True):
    annotations: _Annotations = _Annotations()


class _RunDetails(msgspec.Struct, frozen=True):
    byproducts: tuple[_ByProduct, ...] = ()


class _Definition(msgspec.Struct, frozen=True, rename="camel"):
    resolved_dependencies: tuple[_Named, ...] = ()


class _Predicate(msgspec.Struct, frozen=True, rename="camel"):
    """What provenance or evidence of ours says; other predicates fit too and say nothing here."""

    build_definition: _Definition = _Definition()
    run_details: _RunDetails = _RunDetails()
    evidence: tuple[Evidence, ...] = ()

    def facts(self) -> tuple[Evidence, ...]:
        """The evidence of a step, or that was given by itself."""
        return (
            *self.evidence,
            *(one for product in self.run_details.byproducts for one in product.annotations.evidence),
        )


class _Statement(msgspec.Struct, frozen=True, rename="camel"):
    predicate_type: str
    subject: tuple[_Named, ...]
    predicate: _Predicate


def _proven(blobs: Blobs, release: Digest, package: Digest, trusted: Mapping[str, Verifier]) -> tuple[Evidence, ...]:
    """What trusted keys said of this release, its package, and what the package was made from: of nothing else."""
    said = []
    for text in attachments(blobs, release, dsse.MEDIA_TYPE):
        with contextlib.suppress(Corrupt, msgspec.ValidationError):  # anybody may attach, and say what we do not know
            one = msgspec.convert(dsse.unseal(text, trusted), _Statement)
            if one.predicate_type in (statements.PROVENANCE, statements.EVIDENCE):
                said.append(one)
    made = [one for one in said if package in _digests(one.subject)]
    own = {release, package}.union(*(_digests(one.predicate.build_definition.resolved_dependencies) for one in made))
    return tuple(fact for one in said for fact in one.predicate.facts() if fact.subject.digest in own)


def _digests(named: Sequence[_Named]) -> set[Digest]:
    return {"sha256:" + one.digest["sha256"] for one in named if "sha256" in one.digest}
