"""Leases of writers: what tells garbage collection that somebody is at work, for as long as that process lives.

A lease is an empty file whose name begins with the generation at which its writer started, held with ``flock``: the
kernel frees it with its process, however that ends, and a stopped process keeps it. Garbage collection raises the
generation after it has marked what nobody refers to (see ``garbage``).
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from guideway.kit.files import locked

NOBODY = 1 << 62
"""The generation of the oldest lease when there is none."""


class Leases:
    """The folder ``.guideway`` in a layout: leases, hidden incoming files, the generation, the lock of collection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mutex = threading.Lock()
        self._lease: _Lease | None = None
        self._holders = 0

    @property
    def held(self) -> bool:
        """Does this process hold a lease through this object?"""
        return self._lease is not None and self._lease.pid == os.getpid()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold a lease: what is found or put inside stays until the block ends. May be nested, and used by threads."""
        lease = self._enter()
        try:
            yield
        finally:
            self._leave(lease)

    def hidden(self) -> Path:
        """A path that nobody uses, for a file that is not named yet. Ask inside ``writing``."""
        assert self._lease
        return self.folder / "incoming" / f".incoming.{self._lease.path.name}.{next(self._lease.files)}"

    def lock(self) -> contextlib.AbstractContextManager[bool]:
        """The lock of collection: rescues and collections take turns."""
        return locked(self.folder / "gc.lock")

    def oldest(self, *, but_mine: bool = False) -> int:
        """The generation of the oldest live lease, or ``NOBODY``. Dead ones are removed. Hold the lock."""
        live = [path for path in _names(self.folder / "leases") if not _removed_if_dead(path)]
        mine = self._lease.path if but_mine and self._lease else None
        return min((_generation_of(path) for path in live if path != mine), default=NOBODY)

    def sweep_hidden(self) -> int:
        """Remove what dead writers left half-written; how many bytes. Hold the lock, after ``oldest``."""
        files = _names(self.folder / "incoming")  # before the leases: a writer that begins now has its lease first
        live = {path.name for path in _names(self.folder / "leases")}
        freed = 0
        for path in files:
            if path.name.split(".")[2] not in live:
                with contextlib.suppress(FileNotFoundError):
                    freed += path.stat().st_size
                    path.unlink()
        return freed

    def generation(self) -> int:
        """How many collections have marked so far. It is the text of a link: whole or absent, and no block of disk."""
        try:
            return int(str((self.folder / "generation").readlink()))
        except FileNotFoundError:
            return 0

    def raise_generation(self, generation: int) -> None:
        """Let every lease from now on say that it is younger than the marks of *generation*. Hold the lock."""
        fresh = self.folder / "generation.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(str(generation))
        fresh.replace(self.folder / "generation")

    def _enter(self) -> _Lease:
        with self._mutex:
            if self._lease is None or self._lease.pid != os.getpid():  # a fork holds its parent's, and needs its own
                (self.folder / "incoming").mkdir(parents=True, exist_ok=True)
                self._lease, self._holders = _Lease(self.folder / "leases", self.generation()), 0
            self._holders += 1
            return self._lease

    def _leave(self, lease: _Lease) -> None:
        with self._mutex:
            if lease.pid != os.getpid() or lease is not self._lease:
                return
            self._holders -= 1
            if not self._holders:
                self._lease = None
                lease.end()


class _Lease:
    """One held lease file."""

    def __init__(self, folder: Path, generation: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.pid, self.files = os.getpid(), itertools.count()
        while True:
            self._handle, name = tempfile.mkstemp(prefix=f"{generation}-{self.pid}-", dir=folder)
            self.path = Path(name)
            fcntl.flock(self._handle, fcntl.LOCK_SH)
            if self.path.exists():
                return
            os.close(self._handle)  # a collection saw it before it was held, and took it for a dead one

    def end(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._handle)


def _names(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []


def _generation_of(lease: Path) -> int:
    text = lease.name.partition("-")[0]
    return int(text) if text.isdigit() else 0


def _removed_if_dead(lease: Path) -> bool:
    try:
        handle = os.open(lease, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lease.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True
