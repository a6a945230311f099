"""Bytes with a digest: files, and folders of files."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

Digest = str
"""``sha256:`` and 64 lower-case hexadecimal digits."""


def digest_bytes(data: bytes) -> Digest:
    """The digest of *data*."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON text of *value*: sorted keys, no spaces, UTF-8. Structs become objects."""
    return msgspec.json.encode(msgspec.to_builtins(value), order="sorted")


def digest_of(value: Any) -> Digest:
    """The digest of *value* as canonical JSON."""
    return digest_bytes(canonical_json(value))


def short(digest: Digest) -> str:
    """The first twelve digits: enough for people, never for machines."""
    return digest.removeprefix("sha256:")[:12]


class File(msgspec.Struct, frozen=True):
    """One file of an artifact: its path inside the artifact, size in bytes, and digest."""

    path: str
    size: int
    digest: Digest


class Artifact(msgspec.Struct, frozen=True):
    """A folder of files under one digest, which covers paths and contents, never times or owners."""

    digest: Digest
    files: tuple[File, ...]

    @classmethod
    def of(cls, files: list[File]) -> Artifact:
        """The artifact of *files*, whatever their order."""
        ordered = tuple(sorted(files, key=lambda file: file.path))
        return cls(digest=digest_of(ordered), files=ordered)

    @property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(file.size for file in self.files)
