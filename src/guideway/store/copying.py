"""Copies: shared blocks where the file system can, one pass over the bytes where it cannot."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from guideway.core.artifact import Digest
from guideway.store.reading import BUFFER, digest_file

PIECE = 4 << 20
"""Bytes that travel together between the hashing and the writing thread."""
PIECES = 4
FLUSH = 64 << 20
"""Bytes after which the disk is set to work, so that the last fsync finds little left to do."""
_FICLONE = 0x40049409
"""``ioctl_ficlone(2)``: the target shares the blocks of the source until one of them is written."""
_CANNOT = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTTY, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF)


def clone(source: int, target: int) -> bool:
    """Let the empty file *target* share the blocks of *source*; False where the file system cannot."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def copy(source: int, target: int) -> None:
    """All bytes of *source* into the empty file *target*, inside the kernel if it can."""
    if not clone(source, target):
        copy_range(source, target, 0, os.fstat(source).st_size)


def copy_range(source: int, target: int, start: int, count: int) -> None:
    """Append *count* bytes of *source*, from *start* on, at the position of *target*.

    Raises:
        OSError: the disk is full or broken, or the source became shorter.
    """
    end = start + count
    while start < end:
        try:
            moved = os.copy_file_range(source, target, end - start, offset_src=start)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            moved = _append(target, os.pread(source, min(end - start, BUFFER), start))
        if not moved:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        start += moved


def _append(target: int, data: bytes) -> int:
    write_all(target, memoryview(data))
    return len(data)


def write_all(target: int, data: memoryview) -> None:
    """Write all of *data* at the position of *target*."""
    while data:
        data = data[os.write(target, data) :]


def copy_and_digest(source: int, target: int) -> tuple[Digest, int]:
    """Copy *source* into the empty file *target*; digest and size of exactly what was written.

    One pass: this thread reads and hashes, a second one writes, a third keeps the disk busy meanwhile.
    """
    if clone(source, target):
        return digest_file(target)
    if os.fstat(source).st_size <= PIECE:
        return _copy_small(source, target)
    os.posix_fadvise(source, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    hasher, size = hashlib.sha256(), 0
    with ThreadPoolExecutor(1) as writer, ThreadPoolExecutor(1) as flusher:
        flushed: Future[None] | None = None
        for piece in _pieces(source, target, writer):
            hasher.update(piece)
            before, size = size, size + len(piece)
            if before // FLUSH != size // FLUSH and (flushed is None or flushed.done()):
                _outcome(flushed)
                flushed = flusher.submit(os.fdatasync, target)
        _outcome(flushed)
    return "sha256:" + hasher.hexdigest(), size


def _pieces(source: int, target: int, writer: ThreadPoolExecutor) -> Iterator[memoryview]:
    """Every piece of *source*, while *writer* writes it; a buffer is filled again when its piece is written."""
    buffers = [memoryview(bytearray(PIECE)) for _ in range(PIECES)]
    written: list[Future[None] | None] = [None] * PIECES
    number = 0
    while True:
        slot = number % PIECES
        _outcome(written[slot])
        count = os.readv(source, [buffers[slot]])
        if not count:
            break
        piece = buffers[slot][:count]
        written[slot] = writer.submit(write_all, target, piece)
        yield piece
        number += 1
    for one in written:
        _outcome(one)


def _outcome(future: Future[None] | None) -> None:
    """Wait for it; its error is ours: fsync tells a lost write only once, and to whoever asks first."""
    if future is not None:
        future.result()


def _copy_small(source: int, target: int) -> tuple[Digest, int]:
    hasher, size = hashlib.sha256(), 0
    while data := os.read(source, BUFFER):
        hasher.update(data)
        size += _append(target, data)
    return "sha256:" + hasher.hexdigest(), size
