"""A release as a CNCF ModelPack manifest in an OCI image layout. No time and no host is inside the digest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from guideway.core.artifact import Digest, File, canonical_json, digest_bytes
from guideway.core.errors import Corrupt
from guideway.store.blobs import Blobs

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
ARTIFACT = "application/vnd.cncf.model.manifest.v1+json"
CONFIG = "application/vnd.cncf.model.config.v1+json"
FILE_PATH = "org.cncf.model.filepath"
REF_NAME = "org.opencontainers.image.ref.name"
EMPTY = "application/vnd.oci.empty.v1+json"

_WEIGHTS = (".onnx", ".data", ".safetensors", ".gguf", ".bin", ".xml")


def layer_type(path: str) -> str:
    """The ModelPack media type of one file of a release."""
    if path.startswith("model/"):
        kind = "weight" if path.endswith(_WEIGHTS) else "weight.config"
    elif path.startswith("data/"):
        kind = "dataset"
    else:
        kind = "doc" if path.endswith((".md", ".txt")) else "code"
    return f"application/vnd.cncf.model.{kind}.v1.raw"


def pack(blobs: Blobs, name: str, files: Sequence[File], *, facts: Mapping[str, str]) -> dict[str, Any]:
    """Write config and manifest of a release of *files*; its descriptor. The same files give the same digest."""
    ordered = sorted(files, key=lambda file: file.path)
    config = {
        "descriptor": {"name": name},
        "config": dict(facts),
        "modelfs": {"type": "layers", "diffIds": [file.digest for file in ordered]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": ARTIFACT,
        "config": _put(blobs, CONFIG, config),
        "layers": [
            {
                "mediaType": layer_type(file.path),
                "digest": file.digest,
                "size": file.size,
                "annotations": {FILE_PATH: file.path},
            }
            for file in ordered
        ],
    }
    return {**_put(blobs, MANIFEST, manifest), "artifactType": ARTIFACT}


def read_manifest(blobs: Blobs, digest: Digest) -> dict[str, Any]:
    """The manifest of a release, checked against its digest.

    Raises:
        Corrupt: missing, changed, or not a release.
    """
    manifest: dict[str, Any] = msgspec.json.decode(blobs.read(digest))
    if manifest.get("artifactType") != ARTIFACT:
        raise Corrupt("this manifest is not a release", where=digest)
    return manifest


def descriptor_of(blobs: Blobs, release: Digest) -> dict[str, Any]:
    """The descriptor of a release that is here.

    Raises:
        Corrupt: it is missing, changed, or not a release.
    """
    manifest = read_manifest(blobs, release)
    size = blobs.path(release).stat().st_size
    return {"mediaType": manifest["mediaType"], "digest": release, "size": size, "artifactType": ARTIFACT}


def files_of(manifest: Mapping[str, Any]) -> tuple[File, ...]:
    """The files that a release's manifest lists."""
    return tuple(
        File(path=layer["annotations"][FILE_PATH], size=layer["size"], digest=layer["digest"])
        for layer in manifest["layers"]
    )


def attach(blobs: Blobs, subject: Mapping[str, Any], kind: str, payload: bytes) -> Digest:
    """Attach *payload* (media type *kind*) to the release of descriptor *subject*; the digest of the payload."""
    with blobs.writing():
        blobs.add_to_index(attachment(blobs, subject, kind, payload))
    return digest_bytes(payload)


def attachment(blobs: Blobs, subject: Mapping[str, Any], kind: str, payload: bytes) -> dict[str, Any]:
    """Keep *payload* as an attachment of *subject*; the entry that makes it known in the index.

    Attachments are manifests with a ``subject``, listed under the fallback tag ``sha256-…`` of the
    OCI distribution specification, so that registries without a referrers interface can hold them too.
    """
    layer = {"mediaType": kind, "digest": blobs.put_bytes(payload), "size": len(payload)}
    reference = {key: subject[key] for key in ("mediaType", "digest", "size")}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": _put(blobs, EMPTY, {}),
        "layers": [layer],
        "subject": reference,
    }
    descriptor = {**_put(blobs, MANIFEST, manifest), "artifactType": kind}
    tag = subject["digest"].replace(":", "-")
    return {**descriptor, "annotations": {REF_NAME: tag}}


def attachments(blobs: Blobs, release: Digest, kind: str) -> list[bytes]:
    """The payloads of one media type attached to a release, in the order they came."""
    found: list[bytes] = []
    for entry in entries_beside(blobs, release):
        if entry.get("artifactType") == kind:
            manifest = msgspec.json.decode(blobs.read(entry["digest"]))
            found.extend(blobs.read(layer["digest"]) for layer in manifest["layers"])
    return found


def entries_beside(blobs: Blobs, release: Digest) -> list[dict[str, Any]]:
    """The entries of the index that are attached to a release, in the order they came."""
    tag = release.replace(":", "-")
    return [one for one in blobs.index()["manifests"] if one.get("annotations", {}).get(REF_NAME) == tag]


def _put(blobs: Blobs, media_type: str, value: Any) -> dict[str, Any]:
    data = canonical_json(value)
    digest = blobs.put_bytes(data)
    assert digest == digest_bytes(data)
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
