"""One blob from a registry: streamed into a file that survives a kill, hashed as it comes, whole or absent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from typing import BinaryIO

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt
from guideway.kit.retry import pauses
from guideway.sealing.registry.client import Repository
from guideway.sealing.registry.http import TRIES
from guideway.sealing.registry.wire import Broken, Stream, pieces
from guideway.sealing.transfers import Meter, Transfers, held
from guideway.store.blobs import Blobs

_STEP = 1 << 20
"""Bytes that a connection must bring before it breaks, so that the next one counts as a first try."""
_EXTENT = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18})")


def download(
    repository: Repository,
    blobs: Blobs,
    digest: Digest,
    size: int,
    meter: Meter,
    *,
    wait: Callable[[float], None],
) -> int:
    """Bring one blob of *size* bytes into *blobs*; how many bytes came over the wire.

    Raises:
        Corrupt: the registry has more, fewer or other bytes. Nothing of them is kept.
        Unavailable: it broke off too often. What came is kept for the next time.
    """
    path = Transfers(blobs.folder).beginning(digest)
    with held(path) as file:
        if blobs.has(digest, size):  # another process brought it while we waited
            path.unlink()
            meter.add(size)
            return 0
        part = _Part(file, digest, size, meter)
        try:
            received = _fill(part, repository, wait)
        except Corrupt:
            path.unlink()
            raise
        blobs.adopt(path, digest)
    return received


class _Part:
    """The beginning of a blob, with the hash of what is there."""

    def __init__(self, file: BinaryIO, digest: Digest, whole: int, meter: Meter) -> None:
        self._file, self.digest, self.whole, self._meter = file, digest, whole, meter
        self._hasher, self.size = hashlib.sha256(), 0
        if os.fstat(file.fileno()).st_size > whole:
            file.truncate(0)
        while piece := file.read(_STEP):
            self._count(piece)
        self.kept = self.size

    def take(self, piece: bytes) -> None:
        """Append *piece*, never past the end."""
        if self.size + len(piece) > self.whole:
            raise Corrupt(f"the registry sends more than {self.whole} bytes", where=self.digest)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._count(piece)

    def empty(self) -> None:
        """Begin again."""
        self._meter.add(-self.size)
        self._file.truncate(0)
        self._file.seek(0)
        self._hasher, self.size, self.kept = hashlib.sha256(), 0, 0

    def is_right(self) -> bool:
        """Are these the bytes that the digest means?"""
        return "sha256:" + self._hasher.hexdigest() == self.digest

    def _count(self, piece: bytes) -> None:
        self._hasher.update(piece)
        self.size += len(piece)
        self._meter.add(len(piece))


def _fill(part: _Part, repository: Repository, wait: Callable[[float], None]) -> int:
    """Receive until the part is whole and right; how many bytes came."""
    received = _receive_all(part, repository, wait)
    if not part.is_right() and part.kept:  # what was kept may be what is wrong: a machine may have gone down
        part.empty()
        received += _receive_all(part, repository, wait)
    if not part.is_right():
        raise Corrupt("the registry's blob is not what its digest says", where=part.digest)
    return received


def _receive_all(part: _Part, repository: Repository, wait: Callable[[float], None]) -> int:
    """Receive to the end, over as many connections as it takes while they bring something."""
    left, received = pauses(TRIES), 0
    while part.size < part.whole:
        before = part.size
        try:
            with contextlib.closing(repository.blob(part.digest, part.size)) as response:
                _receive(part, response, repository.where)
        except Broken:
            if part.size - before >= _STEP:
                left = pauses(TRIES)
            pause = next(left, None)
            if pause is None:
                raise
            wait(pause)
        received += max(part.size - before, 0)
    return received


def _receive(part: _Part, response: Stream, where: str) -> None:
    """Take one answer to its end.

    Raises:
        Corrupt: it ends early, or speaks of another size.
        Broken: the connection ended before it.
    """
    start, whole = _extent(response)
    if whole not in (None, part.whole) or start not in (0, part.size):
        raise Corrupt(f"the registry has {whole} bytes instead of {part.whole}", where=part.digest)
    if start != part.size:
        part.empty()
    for piece in pieces(response, where):
        part.take(piece)
    if part.size < part.whole:
        raise Corrupt(f"the registry sends {part.size} bytes instead of {part.whole}", where=part.digest)


def _extent(response: Stream) -> tuple[int, int | None]:
    """From which byte on an answer is, and how long the blob is said to be, if it is said."""
    if response.status == 206:
        found = _EXTENT.fullmatch(response.headers.get("Content-Range", ""))
        return (int(found[1]), int(found[2])) if found else (-1, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isascii() and length.isdigit() else None
