"""A release as one file, for closed networks: an uncompressed tar of an OCI image layout, the same bytes every time."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from guideway.core.artifact import Digest, canonical_json
from guideway.core.errors import Corrupt, SpecError, Unavailable
from guideway.kit import tar
from guideway.kit.files import replacing
from guideway.sealing.arrive import (
    Arriving,
    Attachment,
    attachment,
    check_signed,
    check_whole,
    entries_for,
    list_release,
    read_small,
)
from guideway.sealing.pack import ARTIFACT, INDEX, entries_beside
from guideway.sealing.shape import (
    LARGEST_MANIFEST,
    MOST_ATTACHMENTS,
    Descriptor,
    blobs_of,
    name_of,
    release_manifest,
    sizes,
)
from guideway.sealing.transfers import Meter, Moved, Progress, Transfers
from guideway.signing.keys import Verifier
from guideway.store.blobs import Blobs

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FOLDERS = {"", ".", "blobs", "blobs/sha256"}
_MOST_MEMBERS = 100_000
_PIECE = 1 << 20


def export(blobs: Blobs, release: Digest, path: Path, *, progress: Progress | None = None) -> Moved:
    """Write *release* and everything attached to it to the file *path*, whole or not at all.

    Other tools read it as an OCI archive. An older file of that name is replaced.

    Raises:
        Corrupt: a blob is missing or damaged.
        SpecError: *path* is not the name of a file.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise SpecError("no file can be written there", where=str(path), try_this="name a file in a folder that exists")
    index, manifests, others = _contents(blobs, release)
    meter = Meter(sum(others.values()), progress)
    with replacing(path) as file:
        for name, data in (("oci-layout", _LAYOUT), ("index.json", index)):
            file.writelines((tar.header(name, len(data)), data, tar.padding(len(data))))
        for digest, size in [*manifests.items(), *others.items()]:
            file.write(tar.header("blobs/" + digest.replace(":", "/"), size))
            for piece in _checked(blobs, digest, size):
                file.write(piece)
                meter.add(len(piece) if digest in others else 0)
            file.write(tar.padding(size))
        file.write(tar.end(file.tell()))
        written = file.tell()
    return Moved(release, len(manifests) + len(others), 0, written)


def import_(blobs: Blobs, path: Path, trusted: Mapping[str, Verifier], *, progress: Progress | None = None) -> Moved:
    """Bring the release in the file *path* here and list it: all of it, or nothing.

    The file is read once, member by member. What is here already is passed over.

    Raises:
        Corrupt: the file holds anything but one whole release that a trusted key signed. Nothing is kept.
        Unavailable: the disk is too small.
    """
    if not path.is_file():
        raise SpecError("there is no such file", where=str(path), try_this="name a file that `guideway export` wrote")
    size = path.stat().st_size
    if size > shutil.disk_usage(blobs.folder).free:
        raise Unavailable("the disk is too small for this file", where=str(blobs.folder), try_this="free some space")
    with blobs.writing(), path.open("rb") as file, Transfers(blobs.folder).staging() as staged:
        try:
            found = _read(file, blobs, staged, Meter(size, progress))
            return _accept(blobs, found, staged, trusted)
        except tar.TarError as error:
            raise Corrupt(f"not a tar file with a release: {error}", where=str(path)) from None


def _contents(blobs: Blobs, release: Digest) -> tuple[bytes, dict[Digest, int], dict[Digest, int]]:
    """The index, then the manifests, then all other blobs with their sizes, in the order of their digests."""
    data = read_small(blobs, release)
    manifest = release_manifest(data, release)
    beside = _attachments(blobs, (one["digest"] for one in entries_beside(blobs, release)), release)
    name = name_of(read_small(blobs, manifest.config.digest, manifest.config.size), release)
    entries = entries_for(release, len(data), name, beside)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    manifests = {release: len(data), **{one.digest: one.size for one in beside}}
    others = sizes([*blobs_of(manifest), *(blob for one in beside for blob in one.blobs)], release)
    rest = {digest: others[digest] for digest in sorted(others.keys() - manifests.keys())}
    return canonical_json(index), dict(sorted(manifests.items())), rest


def _attachments(blobs: Blobs, digests: Iterable[Digest], release: Digest) -> list[Attachment]:
    return [attachment(read_small(blobs, digest), digest, release) for digest in sorted(set(digests))]


def _checked(blobs: Blobs, digest: Digest, size: int) -> Iterator[bytes]:
    """The bytes of a blob; an error at their end if they are not what the digest says."""
    hasher, length = hashlib.sha256(), 0
    try:
        with blobs.path(digest).open("rb") as file:
            while piece := file.read(_PIECE):
                hasher.update(piece)
                length += len(piece)
                if length <= size:
                    yield piece
    except FileNotFoundError:
        raise Corrupt("this blob is missing", where=digest) from None
    if length != size or "sha256:" + hasher.hexdigest() != digest:
        raise Corrupt("this blob is not what its digest says", where=digest)


class _Found(msgspec.Struct):
    """What a file holds: its two small members, and the digests of its blobs."""

    small: dict[str, bytes] = {}
    blobs: set[Digest] = set()
    read: int = 0


def _read(file: BinaryIO, blobs: Blobs, staged: Path, meter: Meter) -> _Found:
    """Read every member; blobs that are not here yet are written below *staged*, each checked against its name."""
    found = _Found()
    for count, member in enumerate(tar.members(file)):
        name = member.name.removeprefix("./")
        if member.kind == "folder" and name.rstrip("/") in _FOLDERS:
            continue
        blob = _BLOB.fullmatch(name)
        if member.kind != "file" or not (blob or name in ("oci-layout", "index.json")) or count > _MOST_MEMBERS:
            raise Corrupt(f"a {member.kind} has no place in a release", where=_shown(member.name))
        digest = f"sha256:{blob[1]}" if blob else ""
        if name in found.small or digest in found.blobs:
            raise Corrupt("this is in the file twice", where=_shown(member.name))
        if blob:
            found.blobs.add(digest)
            here = blobs.has(digest, member.size)
            meter.add(member.size if here else 0)
            found.read += 0 if here else _stage(file, member, digest, staged, meter)
        elif member.size > LARGEST_MANIFEST:
            raise Corrupt("this is too large", where=name)
        else:
            found.small[name] = b"".join(tar.content(file, member))
    return found


def _stage(file: BinaryIO, member: tar.Member, digest: Digest, staged: Path, meter: Meter) -> int:
    """Write one blob below *staged*; how many bytes.

    Raises:
        Corrupt: they are not what the name says.
    """
    hasher = hashlib.sha256()
    with (staged / digest.removeprefix("sha256:")).open("xb") as out:
        for piece in tar.content(file, member):
            hasher.update(piece)
            out.write(piece)
            meter.add(len(piece))
    if "sha256:" + hasher.hexdigest() != digest:
        raise Corrupt("this blob is not what its digest says", where=digest)
    return member.size


def _accept(blobs: Blobs, found: _Found, staged: Path, trusted: Mapping[str, Verifier]) -> Moved:
    """Check that what was read is one whole release, signed, and nothing else; then move it in and list it."""
    view = Arriving(blobs.folder, (), staged)
    release, listed = _listed(found.small)
    data = read_small(view, release)
    manifest = release_manifest(data, release)
    beside = _attachments(view, listed, release)
    parts = [*blobs_of(manifest), *(blob for one in beside for blob in one.blobs)]
    check_whole(view, parts, release)
    belongs = {release, *listed, *(one.digest for one in parts)}
    if found.blobs - belongs:
        raise Corrupt("this blob does not belong to the release", where=min(found.blobs - belongs))
    name = name_of(read_small(view, manifest.config.digest), release)
    entries = entries_for(release, len(data), name, beside)
    check_signed(blobs, release, entries, trusted, staged)
    fresh = sorted(staged.iterdir())
    for path in fresh:
        blobs.adopt(path, f"sha256:{path.name}")
    list_release(blobs, release, entries)
    return Moved(release, len(fresh), len(belongs) - len(fresh), found.read)


class _Index(msgspec.Struct):
    manifests: tuple[Descriptor, ...]


class _Layout(msgspec.Struct):
    version: str = msgspec.field(name="imageLayoutVersion")


def _listed(small: Mapping[str, bytes]) -> tuple[Digest, set[Digest]]:
    """The release that the index lists, and what it lists beside it.

    Raises:
        Corrupt: the file is not an OCI layout of version 1, or does not hold exactly one release.
    """
    try:
        layout = msgspec.json.decode(small.get("oci-layout", b""), type=_Layout)
        index = msgspec.json.decode(small.get("index.json", b""), type=_Index)
    except (msgspec.DecodeError, RecursionError):
        raise Corrupt("this file holds no OCI image layout", where="oci-layout, index.json") from None
    if not layout.version.startswith("1."):
        raise Corrupt("this layout is of another version", where="oci-layout")
    releases = {one.digest for one in index.manifests if one.artifact_type == ARTIFACT}
    if len(releases) != 1 or len(index.manifests) > MOST_ATTACHMENTS:
        raise Corrupt(f"a file holds one release, and this one {len(releases)}", where="index.json")
    return releases.pop(), {one.digest for one in index.manifests if one.artifact_type != ARTIFACT}


def _shown(name: str) -> str:
    return repr(name[:120])
