"""The answers of one batch on the disk: a file that only grows, and whose whole lines count after any crash.

A line is ``CRC NUMBER KIND RESULT``: the CRC-32 of the rest in eight hexadecimal digits, the number of the input line
from 0, ``+`` for an answer that is good or ``-`` for one that is not, and the line of the result file.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from guideway.kit.files import sync_folder
from guideway.store.batches import Counts

GOOD, BAD = b"+", b"-"


class Result(NamedTuple):
    """The line of a result file for the input line *number*."""

    number: int
    kind: bytes
    payload: bytes

    def framed(self) -> bytes:
        """The line of the journal."""
        rest = b"%d %b %b" % (self.number, self.kind, self.payload)
        return b"%08x %b\n" % (zlib.crc32(rest), rest)


class Journal:
    """Reads what an earlier process left, cuts off what is not whole, and takes more.

    ``write`` may run in another thread than the rest; ``settle`` then says that it is done. *total* is the number
    of input lines.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, total: int) -> None:
        self._total = total
        self._at = array("q", [-1]) * total
        self._completed = self._failed = 0
        self._path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._end = 0
        self._recover()
        sync_folder(path.parent)

    @property
    def counts(self) -> Counts:
        """How many answers are safe on the disk."""
        return Counts(self._total, self._completed, self._failed)

    def has(self, number: int) -> bool:
        """Is the answer to a line safe on the disk?"""
        return self._at[number] >= 0

    def write(self, results: list[Result]) -> None:
        """Append *results* and make them durable: one write and one fsync for all of them.

        Raises:
            OSError: there is no room. Nothing was added.
        """
        data = memoryview(b"".join(result.framed() for result in results))
        try:
            while data:
                data = data[os.write(self._handle, data) :]
            os.fdatasync(self._handle)
        except OSError:
            os.ftruncate(self._handle, self._end)
            raise

    def settle(self, results: list[Result]) -> None:
        """*results* were written: from now on their lines are answered."""
        for result in results:
            self._note(result.number, result.kind, len(result.framed()))

    def results(self) -> Iterator[Result | None]:
        """What is known of each input line, in order; None where there is no answer."""
        with self._path.open("rb") as file:
            for number, offset in enumerate(self._at):
                if offset < 0:
                    yield None
                    continue
                file.seek(offset)
                found = _parsed(file.readline())
                if found is None or found.number != number:
                    raise OSError("the journal of a batch changed under our hands")
                yield found

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)

    def _note(self, number: int, kind: bytes, size: int) -> None:
        if not self.has(number):
            self._at[number] = self._end
            self._completed += kind == GOOD
            self._failed += kind == BAD
        self._end += size

    def _recover(self) -> None:
        """Take what is whole, cut off the rest."""
        with self._path.open("rb") as file:
            for line in file:
                found = _parsed(line)
                if found is None or found.number >= self._total:
                    break
                self._note(found.number, found.kind, len(line))
        os.ftruncate(self._handle, self._end)
        os.fsync(self._handle)


def _parsed(line: bytes) -> Result | None:
    """The result in a line of a journal, or None when the line is not whole."""
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    rest = line[9:-1]
    if b"%08x" % zlib.crc32(rest) != line[:8]:
        return None
    number, kind, payload = rest.split(b" ", 2)
    return Result(int(number), kind, payload)
