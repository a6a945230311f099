"""A worker's side of the spool of outcomes: records wait in memory, and are written a few times a second.

The format is that of ``guideway.store.outcomes``. Nothing here waits for a disk on the way of a request: what does
not fit into memory is dropped and counted. A write is not flushed to the disk: a killed worker loses what it had not
written yet, 200 ms of records; a machine that loses power may lose more, and the end it leaves is recognised.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from guideway.core.outcome import Outcome
from guideway.kit.frames import frame
from guideway.store.outcomes import MAGIC, SUFFIX, segments, size_of

TICK_SECONDS = 0.2
WRITE_BYTES = 64 * 1024
BUFFER_BYTES = 1024 * 1024
SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_SECONDS = 60.0
SPOOL_BYTES = 1024 * 1024 * 1024
"""What the spool may hold when nobody reads it."""

Submit = Callable[[Callable[[], None]], object]
"""Runs a job soon, elsewhere than on the loop."""

_encode = msgspec.msgpack.Encoder().encode


class Spool:
    """The outcomes of one worker. *worker* is a name that no other process ever has; *clock* is monotonic.

    *submit* runs the writing; without it, it is done on the spot.
    """

    def __init__(self, folder: Path, worker: str, *, clock: Callable[[], float], submit: Submit | None = None) -> None:
        self._submit = submit or (lambda job: job())
        self._segment = _Segment(folder, worker, clock)
        self._frames: list[bytes] = []
        self._size = 0
        self._busy = False
        self._full = 0

    @property
    def dropped(self) -> int:
        """Records that were lost: too many at once, a full disk, or a spool that nobody reads."""
        return self._full + self._segment.lost

    def add(self, outcome: Outcome) -> None:
        """Keep *outcome*; never waits, never raises."""
        try:
            data = frame(_encode(outcome))
        except (ValueError, TypeError, OverflowError):
            self._full += 1
            return
        if self._size + len(data) > BUFFER_BYTES:
            self._full += 1
            return
        self._frames.append(data)
        self._size += len(data)
        if self._size >= WRITE_BYTES:
            self.tick()

    def tick(self) -> None:
        """Every TICK_SECONDS: have written what is there, unless the last writing still goes on."""
        if self._busy:
            return
        self._busy = True
        some, self._frames, self._size = self._frames, [], 0
        try:
            self._submit(lambda: self._write(some))
        except RuntimeError:  # the executor is gone, at the end
            self._full += len(some)
            self._busy = False

    def _write(self, some: list[bytes]) -> None:
        try:
            self._segment.write(some)
        finally:
            self._busy = False

    def close(self) -> None:
        """Write what is left and let go of the segment; after the last job that was submitted has ended."""
        self._segment.write(self._frames)
        self._frames, self._size = [], 0
        self._segment.close()


class _Segment:
    """The file that is written now; begun with its first record, left when it is large, old or broken."""

    def __init__(self, folder: Path, worker: str, clock: Callable[[], float]) -> None:
        self.lost = 0
        self._folder, self._worker, self._clock = folder, worker, clock
        self._handle = -1
        self._size = 0
        self._number = 0
        self._begun = 0.0

    def write(self, some: list[bytes]) -> None:
        """Append the frames *some*; when that fails they are lost, and the torn segment is left."""
        if self._handle >= 0 and self._is_due():
            self.close()
        if not some:
            return
        try:
            if self._handle < 0:
                self._begin()
            self._append(b"".join(some))
        except OSError:
            self.lost += len(some)
            self.close()

    def _append(self, data: bytes) -> None:
        written = os.write(self._handle, data)
        self._size += written
        if written < len(data):
            raise OSError("the disk is full")

    def _is_due(self) -> bool:
        return self._size >= SEGMENT_BYTES or self._clock() - self._begun >= SEGMENT_SECONDS

    def _begin(self) -> None:
        """A new segment, locked before it has a name that readers see: else they would take it for a closed one."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if size_of(self._folder) >= SPOOL_BYTES:
            raise OSError("nobody reads the spool")
        hidden = self._folder / f".{self._worker}.new"
        self._handle = os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._size, self._begun = 0, self._clock()
        self._append(MAGIC)
        self._number = self._next()
        hidden.rename(self._folder / f"{self._worker}-{self._number:06d}{SUFFIX}")

    def _next(self) -> int:
        return self._number + 1 if self._number else 1 + _last(self._folder, self._worker)

    def close(self) -> None:
        """Let go of the file: it grows no more."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _last(folder: Path, worker: str) -> int:
    """The highest number of a segment of *worker*; 0: there is none."""
    named = [name.removesuffix(SUFFIX).rpartition("-") for name in segments(folder)]
    return max((int(number) for name, _, number in named if name == worker and number.isdigit()), default=0)
