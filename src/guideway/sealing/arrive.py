"""A release that came from elsewhere: listed only when all of it is here and a trusted key signed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guideway import __version__
from guideway.core.artifact import Digest, short
from guideway.core.errors import Corrupt
from guideway.core.evidence import Evidence, Producer, Subject
from guideway.core.release import Release
from guideway.sealing.attest import attest
from guideway.sealing.dossier import package_of
from guideway.sealing.pack import ARTIFACT, MANIFEST, REF_NAME, files_of, read_manifest
from guideway.sealing.scanner import Scan, scan_files
from guideway.sealing.shape import LARGEST_MANIFEST, Descriptor, attachment_manifest, blobs_of, name_of, sizes
from guideway.sealing.verify import check_signature
from guideway.signing.keys import Signer, Verifier
from guideway.store import ledger, releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database

Entry = dict[str, Any]


class Attachment(Descriptor, frozen=True):
    """A manifest beside a release, with the blobs that it names."""

    blobs: tuple[Descriptor, ...] = ()

    @property
    def entry(self) -> Entry:
        """Its line in an index, without the tag."""
        kind = {"artifactType": self.artifact_type} if self.artifact_type else {}
        return {"mediaType": MANIFEST, "digest": self.digest, "size": self.size, **kind}


class Arriving(Blobs):
    """The store as it would be if *entries* were listed, and the blobs in the folder *staged* were in it."""

    def __init__(self, folder: Path, entries: Sequence[Entry], staged: Path | None = None) -> None:
        super().__init__(folder)
        self._entries, self._staged = entries, staged

    def path(self, digest: Digest) -> Path:
        """Where the blob lies: among the staged ones, or else in the store."""
        staged = self._staged / digest.removeprefix("sha256:") if self._staged else None
        return staged if staged and staged.exists() else super().path(digest)

    def index(self) -> dict[str, Any]:
        """The index with the new entries at its end."""
        index = super().index()
        return {**index, "manifests": [*index["manifests"], *self._entries]}


def attachment(data: bytes, digest: Digest, release: Digest) -> Attachment:
    """What is attached, from the manifest in *data*.

    Raises:
        Corrupt: it is not about *release*.
    """
    found = attachment_manifest(data, digest, release)
    return Attachment(
        media_type=MANIFEST,
        digest=digest,
        size=len(data),
        artifact_type=found.artifact_type,
        blobs=blobs_of(found),
    )


def entries_for(release: Digest, size: int, name: str, attachments: Iterable[Attachment]) -> list[Entry]:
    """The lines of an index for a release and what is attached to it; the same in every store."""
    tagged = [{**one.entry, "annotations": {REF_NAME: _tag(release)}} for one in attachments]
    return [
        *tagged,
        {
            "mediaType": MANIFEST,
            "digest": release,
            "size": size,
            "artifactType": ARTIFACT,
            "annotations": {REF_NAME: f"{name}-{short(release)}"},
        },
    ]


def read_small(blobs: Blobs, digest: Digest, size: int | None = None) -> bytes:
    """A manifest or config, if it is no larger than such things are.

    Raises:
        Corrupt: missing, changed, or larger.
    """
    if blobs.has(digest) and blobs.path(digest).stat().st_size > LARGEST_MANIFEST:
        raise Corrupt("this is too large for a manifest", where=digest)
    if not blobs.has(digest, size):
        raise Corrupt("this blob is missing", where=digest)
    return blobs.read(digest)


def check_whole(blobs: Blobs, descriptors: Iterable[Descriptor], where: str) -> None:
    """Is every blob here, with its size?

    Raises:
        Corrupt: names the first that is not.
    """
    for digest, size in sizes(descriptors, where).items():
        if not blobs.has(digest, size):
            raise Corrupt("this blob is missing", where=digest)


def check_signed(
    blobs: Blobs,
    release: Digest,
    entries: Sequence[Entry],
    trusted: Mapping[str, Verifier],
    staged: Path | None = None,
) -> None:
    """Would *release* be signed by a trusted key if *entries* were listed?

    Raises:
        Corrupt: no.
    """
    check_signature(Arriving(blobs.folder, entries, staged), release, trusted)


def list_release(blobs: Blobs, release: Digest, entries: Iterable[Entry]) -> None:
    """List what arrived in one write, so that the release is never seen without what belongs to it."""
    here = {(one["digest"], _tag_of(one)) for one in blobs.index()["manifests"]}
    known = any(digest == release for digest, _ in here)
    fresh = (one for one in entries if (one["digest"], _tag_of(one)) not in here)
    blobs.add_to_index(*(one for one in fresh if not (known and one["digest"] == release)))


def record(
    blobs: Blobs, database: Database, release: Digest, *, who: str, what: str, source: str, at: float
) -> Release:
    """Give a release that arrived its number here, and remember in the ledger where it came from.

    A release that is known keeps its number, and nothing is written.
    """
    known = releases.by_digest(database, release)
    if known:
        return known
    manifest = read_manifest(blobs, release)
    name = name_of(read_small(blobs, manifest["config"]["digest"]), release)
    arrived = Release(digest=release, name=name, number=0, created=at, files=files_of(manifest))
    with database.transaction():
        numbered = releases.add(database, arrived)
        ledger.append(database, at=at, who=who, what=what, subject=release, why=source)
    return numbered


def judge_files(blobs: Blobs, database: Database, by: Signer, release: Release, *, at: float) -> Scan:
    """Scan what arrived as if it were ours, and keep what was found: its maker's scan may be old, or a lie."""
    scan = scan_files((file.path, blobs.path(file.digest)) for file in release.files)
    subject = Subject("artifact", package_of(release.files), "package")
    figures = {"unsafe_files": len({one.path for one in scan.unsafe}), "secrets": len(scan.secrets)}
    facts = [
        Evidence(
            metric=metric,
            value=float(value),
            unit="findings" if metric == "secrets" else "files",
            n=scan.files,
            subject=subject,
            produced_by=Producer("guideway/arrive", __version__),
            at=at,
        )
        for metric, value in figures.items()
    ]
    attest(blobs, database, by, facts, what="scanned", why="it came from elsewhere", at=at)
    return scan


def _tag(release: Digest) -> str:
    return release.replace(":", "-")


def _tag_of(entry: Entry) -> str:
    return str(entry.get("annotations", {}).get(REF_NAME, ""))
