"""How bytes come in: each way fills a hidden file, which is digested, read-only and on the disk before it is named."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt, Unavailable
from guideway.store.copying import copy, copy_and_digest, write_all
from guideway.store.reading import BUFFER, digest_file

READ_ONLY = 0o444
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ELOOP)
_unsynced: set[tuple[int, int]] = set()
"""Files whose fsync failed once: the kernel may call them clean now, so they are written anew instead of linked."""


class Staged(NamedTuple):
    """A hidden file ready to be named. ``shared`` says that somebody else has a name for it too."""

    digest: Digest
    size: int
    shared: bool = False


Fill = Callable[[Path], Staged]
"""Fills the hidden file at the given path, which does not exist yet."""


def from_bytes(data: bytes) -> Fill:
    """*data* itself."""

    def fill(hidden: Path) -> Staged:
        with _made(hidden) as target:
            write_all(target, memoryview(data))
        return Staged("sha256:" + hashlib.sha256(data).hexdigest(), len(data))

    return fill


def copied(source: Path) -> Fill:
    """A copy of *source*, which may be written again afterwards."""

    def fill(hidden: Path) -> Staged:
        with _plain(source) as origin, _made(hidden) as target:
            return Staged(*copy_and_digest(origin, target))

    return fill


def linked(source: Path) -> Fill:
    """*source* itself, where it can be linked and read-only; else a copy of it."""

    def fill(hidden: Path) -> Staged:
        if not _link(source, hidden):
            return copied(source)(hidden)
        with _plain(hidden) as handle:  # through the new name: what is hashed is what was linked
            try:
                os.fchmod(handle, READ_ONLY)
            except PermissionError:
                hidden.unlink()
                return copied(source)(hidden)
            digest, size = _digest_and_sync(handle)
            return Staged(digest, size, shared=os.fstat(handle).st_nlink > 2)

    return fill


def lay(blob: Path, target: Path) -> None:
    """Make *blob* visible as *target*, whole or not at all: a link where possible, else a copy.

    Raises:
        FileNotFoundError: there is no such blob.
    """
    if target.exists() and target.samefile(blob):
        return
    hidden = target.with_name(f".{os.getpid()}.{threading.get_ident()}")
    hidden.unlink(missing_ok=True)
    try:
        if not _link(blob, hidden):
            with _plain(blob) as origin, _made(hidden) as made:
                copy(origin, made)
        hidden.replace(target)
    finally:
        hidden.unlink(missing_ok=True)


def _link(source: Path, hidden: Path) -> bool:
    """Link *source*; False where only a copy is possible, or safe."""
    found = source.lstat()
    if stat.S_ISLNK(found.st_mode) or (found.st_dev, found.st_ino) in _unsynced:
        return False
    try:
        os.link(source, hidden)
    except OSError as error:
        if error.errno in _NO_LINK:
            return False
        raise
    return True


def _digest_and_sync(handle: int) -> tuple[Digest, int]:
    """Hash a file while the disk takes what it has not written of it yet."""
    if os.fstat(handle).st_size <= BUFFER:
        _sync(handle)
        return digest_file(handle)
    with ThreadPoolExecutor(1) as side:
        synced = side.submit(_sync, handle)
        found = digest_file(handle)
        synced.result()
    return found


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError:
        found = os.fstat(handle)
        _unsynced.add((found.st_dev, found.st_ino))
        raise


@contextlib.contextmanager
def _plain(path: Path) -> Iterator[int]:
    """*path* opened for reading, if it is a plain file."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not hold us up
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise Corrupt("only plain files can be kept", where=str(path))
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _made(hidden: Path) -> Iterator[int]:
    """A new file: read-only and on the disk when the block ends."""
    handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield handle
        os.fchmod(handle, READ_ONLY)
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def explained(folder: Path) -> Iterator[None]:
    """A full or a failing disk in people's words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(
                "the disk is full, nothing was changed", where=str(folder), try_this="free some space and run it again"
            ) from None
        if error.errno == errno.EIO:
            raise Unavailable(
                "the disk failed to read or write, nothing was changed",
                where=error.filename or str(folder),
                try_this="look for its errors in `dmesg`, then run it again",
            ) from None
        raise
