"""Feedback on its way to the rows: a file for each worker, on the disk before the client is answered.

A record is ``length (4 bytes, little endian) | CRC-32 of the payload (4 bytes) | payload (MessagePack)``. Whoever takes
a file renames it under the lock that the worker holds while it writes; the worker then begins another one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import threading
import zlib
from pathlib import Path

from guideway.kit.files import make_folder, sync_folder

LIMIT = 64 * 1024 * 1024
"""Bytes that wait in one file while nobody takes them."""
_HEAD = struct.Struct("<II")
_GROWING, _TAKEN = ".spool", ".taken"


class Spool:
    """The file of one worker. ``append`` may be called from any thread, and blocks until the disk has the record."""

    def __init__(self, folder: Path, name: str, *, limit: int = LIMIT) -> None:
        self._path, self._limit = folder / (name + _GROWING), limit
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def append(self, payload: bytes) -> None:
        """Write *payload* and wait until it is on the disk.

        Raises:
            OSError: it cannot be written, or too much waits already; nothing is left of it.
        """
        record = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        with self._lock:
            descriptor = self._locked()
            try:
                self._write(descriptor, record)
            finally:
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file; what it holds stays."""
        with self._lock:
            self._drop()

    def _locked(self) -> int:
        """The descriptor of the file that has our name now, under its lock."""
        while True:
            descriptor = self._descriptor = self._descriptor if self._descriptor is not None else self._opened()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return descriptor
            self._drop()

    def _opened(self) -> int:
        make_folder(self._path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        sync_folder(self._path.parent)
        return descriptor

    def _write(self, descriptor: int, record: bytes) -> None:
        size = os.fstat(descriptor).st_size
        if size + len(record) > self._limit:
            raise OSError(errno.ENOSPC, "too much waits in the spool", str(self._path))
        try:
            rest = record
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, size)  # half a record would hide all that follow
            raise

    def _drop(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def waits(folder: Path) -> bool:
    """Is there anything to take?"""
    return any(path.stat().st_size for ending in (_TAKEN, _GROWING) for path in folder.glob("*" + ending))


def take(folder: Path) -> list[Path]:
    """The files that nobody appends to any more: those taken before and not finished, and all that there are now."""
    for path in sorted(folder.glob("*" + _GROWING)):
        _rename(path)
    return sorted(folder.glob("*" + _TAKEN))


def _rename(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        facts = os.fstat(file.fileno())
        if facts.st_size and os.path.samestat(facts, path.stat()):
            path.rename(path.with_name(f"{path.stem}-{facts.st_ino}-{facts.st_mtime_ns}{_TAKEN}"))


def records(data: bytes) -> tuple[list[bytes], int]:
    """The payloads in the content of a file, and the number of bytes at its end that are no whole record."""
    found: list[bytes] = []
    at = 0
    while at + _HEAD.size <= len(data):
        length, check = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if len(payload) < length or zlib.crc32(payload) != check:
            break
        found.append(payload)
        at += _HEAD.size + length
    return found, len(data) - at
