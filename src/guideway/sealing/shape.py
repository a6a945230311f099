"""What a manifest from outside must look like before anything that it says is used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt
from guideway.sealing.pack import ARTIFACT, CONFIG, FILE_PATH, MANIFEST

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LARGEST_MANIFEST = 4 << 20
"""Bytes; what registries take."""
LARGEST_ATTACHMENT = 64 << 20
"""Bytes of one payload beside the release: envelopes, bills of materials, reports."""
MOST_ATTACHMENTS = 1000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SHA256 = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}\Z")]
_Size = Annotated[int, Meta(ge=0, le=1 << 50)]


class Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """What an OCI manifest says of one blob; ``size`` in bytes."""

    media_type: str
    digest: _SHA256
    size: _Size
    annotations: dict[str, str] = {}
    artifact_type: str = ""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """An OCI image manifest, of a release or of an attachment."""

    schema_version: Literal[2]
    config: Descriptor
    layers: Annotated[tuple[Descriptor, ...], Meta(max_length=20_000)]
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"] = MANIFEST  # type: ignore[assignment]
    artifact_type: str = ""
    subject: Descriptor | None = None


class _Inner(msgspec.Struct):
    name: str


class _Config(msgspec.Struct):
    descriptor: _Inner


def release_manifest(data: bytes, digest: Digest) -> Manifest:
    """The manifest of a release in *data*, with paths that stay in their folder.

    Raises:
        Corrupt: it is none.
    """
    manifest = _decoded(data, digest)
    if manifest.artifact_type != ARTIFACT or manifest.config.media_type != CONFIG or manifest.subject:
        raise Corrupt("this manifest is not a release", where=digest)
    paths = [layer.annotations.get(FILE_PATH, "") for layer in manifest.layers]
    check_paths(paths, digest)
    sizes(blobs_of(manifest), digest)
    return manifest


def attachment_manifest(data: bytes, digest: Digest, release: Digest) -> Manifest:
    """The manifest in *data* of something attached to *release*.

    Raises:
        Corrupt: it is none, or is about something else.
    """
    manifest = _decoded(data, digest)
    if manifest.subject is None or manifest.subject.digest != release:
        raise Corrupt("this attachment is about something else", where=digest)
    if any(one.size > LARGEST_ATTACHMENT for one in blobs_of(manifest)):
        raise Corrupt(f"an attachment is larger than {LARGEST_ATTACHMENT >> 20} MiB", where=digest)
    return manifest


def blobs_of(manifest: Manifest) -> tuple[Descriptor, ...]:
    """Config and layers."""
    return (manifest.config, *manifest.layers)


def sizes(descriptors: Iterable[Descriptor], where: str) -> dict[Digest, int]:
    """The size in bytes of every digest, each once.

    Raises:
        Corrupt: one digest is said to have two sizes.
    """
    found: dict[Digest, int] = {}
    for one in descriptors:
        if found.setdefault(one.digest, one.size) != one.size:
            raise Corrupt("one blob is said to have two sizes", where=where)
    return found


def check_paths(paths: Iterable[str], where: str) -> None:
    """Refuse paths that are absolute, leave their folder, come twice, or are both file and folder.

    Raises:
        Corrupt: names the path.
    """
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        parts = path.split("/")
        if len(path) > 1024 or not all(map(_is_plain, parts)):
            raise Corrupt(f"{path[:120]!r} is not the path of a file in a release", where=where)
        if path in seen:
            raise Corrupt(f"{path!r} is in this release twice", where=where)
        seen.add(path)
        folders.update("/".join(parts[:count]) for count in range(1, len(parts)))
    if both := seen & folders:
        raise Corrupt(f"{min(both)!r} is both a file and a folder in this release", where=where)


def name_of(config: bytes, digest: Digest) -> str:
    """The name of a release, from its config blob.

    Raises:
        Corrupt: it has none, or one that cannot be used.
    """
    try:
        name = msgspec.json.decode(config, type=_Config).descriptor.name
    except (msgspec.DecodeError, RecursionError):
        name = ""
    if not _NAME.fullmatch(name):
        raise Corrupt("this release has no name that can be used", where=digest)
    return name


def _is_plain(part: str) -> bool:
    good = part not in ("", ".", "..") and "\\" not in part and part.isprintable()
    return good and len(part.encode(errors="surrogatepass")) <= 255


def _decoded(data: bytes, digest: Digest) -> Manifest:
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt(f"this is not an OCI manifest: {_first(error)}", where=digest) from None


def _first(error: Exception) -> str:
    """The decoder's reason, which names a key and never holds more than a piece of the text."""
    return "".join(letter for letter in str(error)[:120] if letter.isprintable())
