"""The OpenSSF library signs a model whose digests are known. Only imported to sign: it brings many libraries along."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from model_signing import hashing, manifest, signing
from model_signing._hashing.hashing import Digest

from guideway.core.artifact import File
from guideway.signing.keypair import Signer


def sign(files: Sequence[File], signer: Signer, *, name: str, ignored: Sequence[str]) -> bytes:
    """The bundle over *files*, made by the library from their digests and the key of *signer*."""
    with ExitStack() as open_files:
        key = open_files.enter_context(_in_memory(signer.private_pem()))
        bundle = open_files.enter_context(_in_memory(b""))
        known = _Known(_manifest(files, name, ignored))
        config = signing.Config()  # type: ignore[no-untyped-call]
        config.set_hashing_config(known).use_elliptic_key_signer(private_key=key).sign(name, bundle)
        return bundle.read_bytes()


class _Known(hashing.Config):
    """In place of the part of the library that reads and hashes files."""

    def __init__(self, known: manifest.Manifest) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = known

    def hash(self, *_: Any, **__: Any) -> manifest.Manifest:
        return self._known


class _InOrder(manifest.Manifest):
    """Sorted by whole names, as the specification asks; the library itself sorts by parts of paths."""

    def resource_descriptors(self) -> Iterator[Any]:
        return iter(sorted(super().resource_descriptors(), key=lambda one: one.identifier))


def _manifest(files: Sequence[File], name: str, ignored: Sequence[str]) -> manifest.Manifest:
    how = manifest.SerializationType.from_args(
        {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(ignored)}
    )
    items = [
        how.new_item(one.path, Digest("sha256", bytes.fromhex(one.digest.removeprefix("sha256:")))) for one in files
    ]
    return _InOrder(name, items, how)


@contextmanager
def _in_memory(data: bytes) -> Iterator[Path]:
    """A file with a path but without a place on any disk: the library takes paths, and a key must not be copied."""
    handle = os.memfd_create("guideway")
    try:
        os.write(handle, data)
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
