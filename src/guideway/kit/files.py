"""Files that are whole or absent, and locks that a dead process cannot keep."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make *folder* and what is missing above it, each name on the disk before the next one is made."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Write *data* to *path* so that a reader, or a crash, sees the old file or the new one, never a part."""
    with replacing(path, mode=mode, durable=durable) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o644, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of *path* when the block ends well, and is gone when it does not."""
    with _hidden(path) as handle, os.fdopen(handle, "wb") as file:
        yield file
        _settle(file, mode, durable=durable)
    if durable:
        sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path, data: bytes, *, mode: int = 0o644) -> Iterator[None]:
    """*data* is on the disk when the block begins, and takes the place of *path* when it ends well; else it is gone."""
    with _hidden(path) as handle:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            _settle(file, mode, durable=True)
        yield
    sync_folder(path.parent)


@contextlib.contextmanager
def _hidden(path: Path) -> Iterator[int]:
    """A hidden file beside *path*, open to write, which takes its place when the block ends well, or is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        yield handle
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _settle(file: IO[bytes], mode: int, *, durable: bool) -> None:
    file.flush()
    os.fchmod(file.fileno(), mode)
    if durable:
        os.fsync(file.fileno())


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file *path*; yields False when *wait* is off and somebody else holds it.

    The kernel drops the lock with its process, so a killed holder leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def own_folder(work: Path) -> Iterator[Path]:
    """A new folder below *work* that is gone afterwards; those that dead processes left are swept away."""
    work.mkdir(parents=True, exist_ok=True)
    for old in work.iterdir():
        pid = old.name.partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
