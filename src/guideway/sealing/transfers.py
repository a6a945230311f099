"""What is under way, on disk: beginnings of blobs, and where an upload goes on. It survives a kill."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeVar

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import GuidewayError
from guideway.kit.files import locked

Progress = Callable[[int, int], None]
"""Takes bytes done and bytes in all."""
Item = TypeVar("Item")
Result = TypeVar("Result")
THREADS = 4


class Moved(msgspec.Struct, frozen=True):
    """What a transfer did: blobs and manifests ``moved``, those that were ``there``, bytes on the wire."""

    digest: Digest
    moved: int
    there: int
    size: int


class Meter:
    """Adds up the bytes that threads move, tells them on, and stops those threads when one failed."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.done, self._total, self._progress = 0, total, progress
        self._stopped = False
        self._lock = Lock()

    def add(self, count: int) -> None:
        """*count* more bytes were moved, or, below zero, must be moved again."""
        if self._stopped:
            raise GuidewayError("another transfer failed")
        with self._lock:
            self.done += count
            if self._progress:
                self._progress(self.done, self._total)

    def stop(self) -> None:
        """Whoever adds next ends."""
        self._stopped = True


def each(work: Callable[[Item], Result], items: Iterable[Item], meter: Meter) -> list[Result]:
    """*work* on every item, in threads; the results in order. The first error ends the others and is raised."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            meter.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        return [future.result() for future in futures]


class Transfers:
    """The folder ``transfers`` of a store. Nothing in it is part of the store yet; all of it may be deleted."""

    def __init__(self, store: Path) -> None:
        self.folder = store / "transfers"
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def beginning(self, digest: Digest) -> Path:
        """The file with what came of a blob so far."""
        return self.folder / digest.removeprefix("sha256:")

    def upload(self, where: str, digest: Digest) -> Path:
        """The file that says where the upload of a blob to the repository *where* goes on."""
        return self.folder / (hashlib.sha256(f"{where}@{digest}".encode()).hexdigest() + ".upload")

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder that is gone when the block ends; those of killed processes are removed first."""
        stack = contextlib.ExitStack()
        with locked(self.folder / "staging.lock"):
            for old in self.folder.glob("staged.*"):
                with _locked_folder(old) as is_abandoned:
                    if is_abandoned:
                        shutil.rmtree(old)
            fresh = Path(tempfile.mkdtemp(dir=self.folder, prefix="staged."))
            stack.enter_context(_locked_folder(fresh))
            stack.callback(shutil.rmtree, fresh, ignore_errors=True)
        with stack:
            yield fresh

    def list_lock(self, where: str) -> Path:
        """The lock of whoever changes a list in the repository *where* from this store."""
        return self.folder / (hashlib.sha256(where.encode()).hexdigest() + ".lock")


@contextlib.contextmanager
def held(path: Path) -> Iterator[BinaryIO]:
    """The file *path* for this caller alone, made if absent; whoever holds it before is waited for.

    The holder may rename or remove it: the next one then gets a new file. An empty one is not left behind.
    """
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_named(file, path):
                try:
                    yield file
                finally:
                    if _is_named(file, path) and not os.fstat(file.fileno()).st_size:
                        path.unlink()
                return


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder; False if another process holds it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _is_named(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
