"""Marks on blobs that nobody seems to need: set by one collection, acted on by a later one, lifted by use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from guideway.core.artifact import Digest


class Mark(NamedTuple):
    """A blob was condemned by the collection *generation* at the time *at*, in seconds since 1970."""

    digest: Digest
    generation: int
    at: float


class Marks:
    """The folder of marks. A mark is a link whose text says when: made in one step, and on a full disk too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def set(self, mark: Mark) -> None:
        """Condemn. An older mark of the same blob is replaced. Hold the lock of collection."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.lift(mark.digest)
        self._path(mark.digest).symlink_to(f"{mark.generation}-{mark.at!r}")

    def has(self, digest: Digest) -> bool:
        """Is it condemned?"""
        return os.path.lexists(self._path(digest))

    def lift(self, digest: Digest) -> None:
        """Rescue. Hold the lock of collection."""
        self._path(digest).unlink(missing_ok=True)

    def all(self) -> Iterator[Mark]:
        """Every mark."""
        for path in sorted(self._folder.iterdir()) if self._folder.is_dir() else ():
            generation, _, at = str(path.readlink()).partition("-")
            yield Mark("sha256:" + path.name, int(generation), float(at))

    def _path(self, digest: Digest) -> Path:
        return self._folder / digest.removeprefix("sha256:")
