"""Verify: every byte read again, and the signature checked, before anything loads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Set
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest, digest_bytes, short
from guideway.core.errors import Corrupt, Unavailable
from guideway.sealing.pack import ARTIFACT, attachments, entries_beside, files_of, read_manifest
from guideway.signing import dsse, oms, statements
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


def check_signature(blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier]) -> tuple[Verifier, ...]:
    """Check that a trusted key signed a release statement about exactly this digest, and all that it names; who did.

    What strangers attach counts for nothing. A model signature by a trusted key must be about these files.

    Raises:
        Corrupt: nobody did, or an attachment that the statement names is missing or does not hold.
    """
    found = release_statements(blobs, release, trusted)
    if not found:
        raise Corrupt(
            "no trusted key signed this release",
            where=short(release),
            try_this="add the signer's public key: `guideway signers trust`, or build it again",
        )
    named = {one for opened in found for one in statements.byproducts(opened.statement)}
    here = {(kind, digest_bytes(one)) for kind, _ in named for one in attachments(blobs, release, kind)}
    for kind, digest in sorted(named - here):
        raise Corrupt(f"an attachment of this release is missing ({kind})", where=digest)
    _check_model_signatures(blobs, release, trusted, named={digest for kind, digest in named if kind == oms.MEDIA_TYPE})
    return tuple({one.id: one for opened in found for one in opened.by}.values())


def release_statements(blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier]) -> list[dsse.Opened]:
    """The statements by trusted keys that *release* is one; others are left out, whoever attached them."""
    found = []
    for text in attachments(blobs, release, dsse.MEDIA_TYPE):
        with contextlib.suppress(Corrupt):  # anybody may attach; only a trusted statement counts
            opened = dsse.opened(text, trusted)
            said = opened.statement
            if said.get("predicateType") == statements.RELEASE and release in statements.subjects(said):
                found.append(opened)
    return found


def model_signature(blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier]) -> bytes:
    """The model signature (a JSON bundle) of *release*, for other people's tools.

    Raises:
        Corrupt: the release is not signed by a trusted key.
        Unavailable: it was sealed without a model signature.
    """
    check_signature(blobs, release, trusted)
    for text in attachments(blobs, release, oms.MEDIA_TYPE):
        with contextlib.suppress(Corrupt):
            oms.signer_of(oms.read_bundle(text), trusted)
            return text
    raise Unavailable(
        "no model signature came with this release",
        where=short(release),
        try_this="pip install 'guideway[sign]' and sign with an ECDSA key before it is sealed",
    )


def _check_model_signatures(
    blobs: Blobs, release: Digest, trusted: Mapping[str, Verifier], *, named: Set[Digest]
) -> None:
    files = {file.path: file.digest for file in oms.covered(files_of(read_manifest(blobs, release)))}
    for text in attachments(blobs, release, oms.MEDIA_TYPE):
        where = f"model signature of {short(release)}"
        try:
            bundle = oms.read_bundle(text, where=where)
            oms.signer_of(bundle, trusted, where=where)
        except Corrupt:
            if digest_bytes(text) in named:
                raise
            continue  # a stranger's, or by a key that no longer counts
        if {one.name: f"{one.algorithm}:{one.digest}" for one in bundle.resources} != files:
            raise Corrupt("the model signature is about other files", where=short(release))


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
