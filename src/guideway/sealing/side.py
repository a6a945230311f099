"""One of two releases to compare, read from what was sealed and signed; nothing is taken from rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt
from guideway.core.evidence import Evidence
from guideway.core.release import Release
from guideway.sealing.documents import documents
from guideway.sealing.dossier import chain, heard, package_of, proofs
from guideway.sealing.pack import attachments, files_of, read_manifest
from guideway.signing import dsse
from guideway.signing.keys import Verifier
from guideway.store.blobs import Blobs

MANIFEST, SPEC, SERVE, POLICY, LOCK = "data/manifest.json", "spec.json", "serve.json", "policy.json", "environment.lock"
CLASSIFIER, EMBEDDER = "model/classifier.json", "model/embedder.json"
GRAPH = "model/model.onnx"
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
    wanted = [file for file in files if file.path in (MANIFEST, SPEC, SERVE, POLICY, LOCK, CLASSIFIER, EMBEDDER)]
    found = documents(blobs, wanted, limit=LARGEST)
    spec = found.pop(SPEC, {})
    if not isinstance(spec, dict):
        raise Corrupt("this is not the build part of a spec", where=SPEC)
    evidence = _proven(blobs, release.digest, package_of(files), trusted)
    return Side(msgspec.structs.replace(release, files=files), spec, found, evidence)


def _proven(blobs: Blobs, release: Digest, package: Digest, trusted: Mapping[str, Verifier]) -> tuple[Evidence, ...]:
    """What trusted keys said of this release and of the steps that led to it: of nothing else."""
    said = heard(attachments(blobs, release, dsse.MEDIA_TYPE), trusted)
    own = {release, *chain(said, package)[0].values()}
    return tuple(one.evidence for one in proofs(said) if one.evidence.subject.digest in own)
