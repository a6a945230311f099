"""Verify: every byte read again, and the signature checked, before anything loads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest, short
from guideway.core.errors import Corrupt
from guideway.sealing.pack import ARTIFACT, attachments, entries_beside, files_of, read_manifest
from guideway.signing import dsse, statements
from guideway.signing.keys import Verifier
from guideway.store.blobs import Blobs


def verify(
    blobs: Blobs,
    release: Digest,
    trusted: Mapping[str, Verifier],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Check manifest, signature and every byte of *release*; how many bytes were read.

    Raises:
        Corrupt: names the blob that is missing, changed or unsigned.
    """
    manifest = read_manifest(blobs, release)
    check_signature(blobs, release, trusted)
    blobs.verify(manifest["config"]["digest"], manifest["config"]["size"], name="config")
    files = files_of(manifest)
    total = sum(file.size for file in files)
    blobs.verify_files(files, lambda done: progress(done, total) if progress else None)
    _check_beside(blobs, release)
    return total


def _check_beside(blobs: Blobs, release: Digest) -> None:
    """Read every byte of what is attached to *release*, of whatever kind it is."""
    for entry in entries_beside(blobs, release):
        manifest = msgspec.json.decode(blobs.read(entry["digest"]))
        for one in (manifest["config"], *manifest["layers"]):
            blobs.verify(one["digest"], one["size"], name="attached")


def check_signature(blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier]) -> None:
    """Check that a trusted key signed a release statement about exactly this digest.

    Raises:
        Corrupt: nobody did.
    """
    for text in attachments(blobs, release, dsse.MEDIA_TYPE):
        with contextlib.suppress(Corrupt):  # anybody may attach; only a trusted statement counts
            said = dsse.unseal(text, trusted)
            if said.get("predicateType") == statements.RELEASE and release in statements.subjects(said):
                return
    raise Corrupt(
        "no trusted key signed this release",
        where=short(release),
        try_this="add the signer's public key to the keys folder, or build it again",
    )


def verify_folder(folder: Path, trusted: Mapping[str, Verifier]) -> int:
    """Verify every release in the OCI layout *folder*, a copy for instance; how many there were.

    Raises:
        Corrupt: names the blob.
    """
    if not (folder / "oci-layout").is_file():
        raise Corrupt("this is not an OCI image layout", where=str(folder))
    blobs = Blobs(folder)
    found = {entry["digest"] for entry in blobs.index()["manifests"] if entry.get("artifactType") == ARTIFACT}
    for digest in sorted(found):
        verify(blobs, digest, trusted)
    return len(found)
