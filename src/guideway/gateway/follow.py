"""Follow a file that another process replaces: read it when it changes, keep what was good when it is broken."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from guideway.gateway.log import log

SETTLED_NS = 100_000_000


class FollowedFile:
    """One file. ``accept`` gets its bytes after every change and raises ValueError when they are no good.

    *wall* tells the time in nanoseconds since 1970. Two changes within one tick of the file system's clock can look
    like one, so a file is not trusted to be unchanged before it is older than that.
    """

    def __init__(self, path: Path, accept: Callable[[bytes], None], wall: Callable[[], int]) -> None:
        self._path, self._accept, self._wall = path, accept, wall
        self._signature: tuple[int, int, int] | None = None
        self._data: bytes | None = None
        self._complaint = ""

    def look(self) -> bool:
        """Read the file if it may have changed. True when its new content was accepted."""
        try:
            if _signature(self._path.stat()) == self._signature:
                return False
            data = self._read()
        except OSError as error:
            self._signature = None
            self._complain(error.strerror or "cannot be read")
            return False
        if data == self._data:
            return False
        self._data = data
        return self._try(data)

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
        self._complaint = ""
        return True

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log("file kept as it was", file=str(self._path), why=what)
        self._complaint = what


def _signature(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
