"""Follow a file that another process replaces: read it when it changes, keep what was good when it is broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from guideway.gateway.log import log

SETTLED_NS = 100_000_000
TRUSTED_SECONDS = 5.0


class FollowedFile:
    """One file. ``accept`` gets its bytes after every change and raises ValueError when they are no good.

    ``sound``: what it holds now is known and was accepted. *wall* tells the time in nanoseconds since 1970. Two
    changes within one tick of the file system's clock can look like one, so a file is not trusted to be unchanged
    before it is older than that.
    """

    def __init__(self, path: Path, accept: Callable[[bytes], None], wall: Callable[[], int]) -> None:
        self._path, self._accept, self._wall = path, accept, wall
        self._signature: tuple[int, int, int] | None = None
        self._data: bytes | None = None
        self._complaint = ""
        self._accepted = False
        self.sound = False

    def look(self) -> bool:
        """Read the file if it may have changed. True when its new content was accepted."""
        try:
            if _signature(self._path.stat()) == self._signature:
                return False
            data = self._read()
        except OSError as error:
            self._signature, self.sound = None, False
            self._complain(error.strerror or "cannot be read")
            return False
        if data == self._data:
            self._settle(self._accepted)
            return False
        self._data = data
        self._settle(self._try(data))
        return self.sound

    def _read(self) -> bytes:
        with self._path.open("rb") as file:
            stat = os.fstat(file.fileno())
            settled = self._wall() - stat.st_mtime_ns > SETTLED_NS
            self._signature = _signature(stat) if settled else None
            return file.read()

    def _try(self, data: bytes) -> bool:
        try:
            self._accept(data)
        except (ValueError, RecursionError) as error:
            self._complain(str(error))
            return False
        return True

    def _settle(self, accepted: bool) -> None:
        self._accepted = self.sound = accepted
        if accepted:
            self._complaint = ""

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log("file kept as it was", file=str(self._path), why=what)
        self._complaint = what


class TrustedFile:
    """A file that says who may do what: *told* hears True once it was not sound for TRUSTED_SECONDS, and False when
    it is again. *clock* is monotonic, in seconds.
    """

    def __init__(self, file: FollowedFile, clock: Callable[[], float], told: Callable[[bool], None]) -> None:
        self._file, self._clock, self._told = file, clock, told
        self._sound_at = clock()
        self._lost = False

    def look(self) -> bool:
        """Read the file if it may have changed. True when its new content was accepted."""
        changed = self._file.look()
        now = self._clock()
        if self._file.sound:
            self._sound_at = now
        lost = now - self._sound_at > TRUSTED_SECONDS
        if lost is not self._lost:
            self._lost = lost
            self._told(lost)
        return changed


def _signature(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
