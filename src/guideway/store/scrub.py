"""The scrub: every blob of a layout read from the disk again, and all damage named, not only the first."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt
from guideway.store.blobs import Blobs
from guideway.store.garbage import reachable
from guideway.store.reading import in_parallel


class Damage(NamedTuple):
    """One blob that is not what it should be, and how."""

    digest: Digest
    what: str


class Scrubbed(NamedTuple):
    """How many blobs and bytes were read, and what is wrong."""

    blobs: int
    bytes: int
    damage: tuple[Damage, ...]


def verify_all(blobs: Blobs, progress: Callable[[int, int], None] = lambda _done, _total: None) -> Scrubbed:
    """Read every blob again, from the disk and not from what the system remembers of it.

    Blobs that a listed manifest needs and that are not here are damage too. *progress* hears bytes done and in all.

    Raises:
        Corrupt: ``index.json`` itself cannot be read.
    """
    sizes = dict(sorted(blobs.all()))
    total, done, damage = sum(sizes.values()), 0, []
    for (digest, size), what in zip(sizes.items(), in_parallel(lambda one: _wrong(blobs, one), sizes), strict=True):
        done += size
        progress(done, total)
        if what:
            damage.append(Damage(digest, what))
    damage += [Damage(digest, "this blob is missing") for digest in _missing(blobs, {one.digest for one in damage})]
    return Scrubbed(len(sizes), done, tuple(damage))


def _wrong(blobs: Blobs, digest: Digest) -> str:
    """What is wrong with a blob, or nothing."""
    try:
        _forget(blobs, digest)
        blobs.verify(digest)
    except Corrupt as error:
        return error.what if blobs.path(digest).exists() else ""  # collected meanwhile: if it is needed, it is missing
    except FileNotFoundError:
        pass
    return ""


def _forget(blobs: Blobs, digest: Digest) -> None:
    """Let the system drop what it has in memory of this file, so that the disk is asked."""
    handle = os.open(blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)


def _missing(blobs: Blobs, damaged: set[Digest]) -> list[Digest]:
    listed = {entry["digest"] for entry in blobs.index()["manifests"]}
    unreadable = damaged | {digest for digest in listed if not blobs.path(digest).exists()}
    needed = reachable(blobs, frozenset(), unreadable=unreadable)
    return sorted(digest for digest in needed if digest not in damaged and not blobs.path(digest).exists())
