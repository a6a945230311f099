"""The spool of outcomes: segments that workers append to, read from an offset, and removed once they were consumed.

A segment is ``FOLDER/WORKER-N.msgpack``: eight bytes of magic, then frames (``kit.frames``), each an
:class:`~guideway.core.outcome.Outcome` as a MessagePack array. WORKER is a name that no other process ever has.
While a worker writes a segment it holds a lock on it, which the kernel drops with the process: a segment without a
lock grows no more. Whoever reads commits the offset together with what it made of the records, in one transaction;
an offset that was committed is never read again, and one that was not is read again whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from guideway.core.outcome import Outcome
from guideway.kit.frames import HEAD_BYTES, LIMIT, frames

MAGIC = b"GWOUT\x01\r\n"
SUFFIX = ".msgpack"
AT_ONCE = len(MAGIC) + HEAD_BYTES + LIMIT
"""Bytes that one read looks at: at least one frame."""

_decode = msgspec.msgpack.Decoder(Outcome).decode


class Reading(msgspec.Struct, frozen=True):
    """What one read found.

    ``offset`` is where the next one begins. ``ended``: there will never be more. ``lost`` is the number of bytes of a
    torn end, which a killed worker leaves, and ``unread`` of whole records that are not understood.
    """

    records: tuple[Outcome, ...]
    offset: int
    ended: bool = False
    lost: int = 0
    unread: int = 0


def segments(folder: Path) -> list[str]:
    """The names of the segments in *folder*: of each worker in the order in which it wrote them."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(one.name for one in folder.iterdir() if one.suffix == SUFFIX and not one.name.startswith("."))
    return []


def order(name: str) -> tuple[str, int]:
    """The worker of a segment, and its number: what a worker wrote first comes first."""
    worker, _, number = name.removesuffix(SUFFIX).rpartition("-")
    return worker, int(number) if number.isdigit() else 0


def read(folder: Path, name: str, offset: int = 0) -> Reading:
    """The records of segment *name* from *offset* on, as many as one read holds.

    Raises:
        FileNotFoundError: it was removed.
    """
    with (folder / name).open("rb") as file:
        closed = _is_closed(file.fileno())  # asked before reading: what comes after is in the next read
        size = os.fstat(file.fileno()).st_size
        file.seek(offset)
        data = file.read(AT_ONCE)
    return _reading(data, offset, size, closed)


def _reading(data: bytes, offset: int, size: int, closed: bool) -> Reading:
    at = 0
    if offset == 0:
        at = len(MAGIC)
        if data[:at] != MAGIC:
            return Reading((), size, True, lost=size) if closed else Reading((), 0)
    records, unread, start = [], 0, at
    for payload, end in frames(data, at):
        at = end
        try:
            records.append(_decode(payload))
        except msgspec.DecodeError:
            unread += 1
    whole = offset + at >= size
    stuck = at == start and not whole  # a buffer holds at least one frame, so this one is torn
    if closed and stuck:
        return Reading((), size, True, lost=size - offset - at)
    return Reading(tuple(records), offset + at, closed and whole, unread=unread)


def remove(folder: Path, offsets: Mapping[str, int]) -> list[str]:
    """Remove the segments of which nothing is left to read behind the committed *offsets*; returns their names.

    One that cannot be removed stays: who reads must not stumble over a disk that cannot be written.
    """
    gone = []
    for name, offset in offsets.items():
        with contextlib.suppress(OSError):
            if _is_consumed(folder / name, offset):
                (folder / name).unlink()
                gone.append(name)
    return gone


def size_of(folder: Path) -> int:
    """The bytes of all segments."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for name in segments(folder):
        with contextlib.suppress(FileNotFoundError):
            yield (folder / name).stat().st_size


def _is_consumed(path: Path, offset: int) -> bool:
    with path.open("rb") as file:
        return _is_closed(file.fileno()) and offset >= os.fstat(file.fileno()).st_size


def _is_closed(handle: int) -> bool:
    """Does nobody write it any more? Our own lock goes when the file is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
