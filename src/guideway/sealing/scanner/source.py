"""One file as a format sees it: mapped or read, never copied whole when it is large, and never run."""

from __future__ import annotations

import codecs
import contextlib
import mmap
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from guideway.sealing.scanner.findings import Finding, Malformed, finding

READ_WHOLE = 1 << 20
"""Files up to so many bytes are read, larger ones are mapped."""
CHUNK = 1 << 20

Bytes = bytes | mmap.mmap


class Claim(NamedTuple):
    """A file without a format of its own that a judged file vouches for: raw tensor data."""

    path: str
    format: str


class Strings(NamedTuple):
    """A part of the file that people may have written to, so that it is searched for secrets."""

    data: Bytes


Said = Finding | Claim | Strings
"""What a format yields about a file."""


class Source(NamedTuple):
    """A regular file under its path in the release. ``sizes`` are those of all files of the release, in bytes."""

    path: str
    data: Bytes
    sizes: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return len(self.data)

    @property
    def suffix(self) -> str:
        """The lower-case end of the name, such as ``.json``."""
        return Path(self.path).suffix.lower()

    def finding(self, rule: str, what: str) -> Finding:
        """A finding about this file."""
        return finding(rule, self.path, what)

    def starts(self, *magics: bytes) -> bool:
        """Does the file begin with one of *magics*?"""
        return any(self.data[: len(magic)] == magic for magic in magics)

    def unpack(self, layout: str, offset: int, rule: str) -> tuple[Any, ...]:
        """Numbers at *offset* by a ``struct`` layout.

        Raises:
            Malformed: the file ends before.
        """
        if offset < 0 or offset + struct.calcsize(layout) > self.size:
            raise Malformed(rule, f"ends at byte {self.size}, within its own header")
        return struct.unpack_from(layout, self.data, offset)


@contextlib.contextmanager
def opened(path: str, place: Path, sizes: Mapping[str, int]) -> Iterator[Source]:
    """The file at *place* as the release's *path*. Follows no link and waits for no pipe.

    Raises:
        OSError: it cannot be opened.
        Malformed: it is no regular file.
    """
    handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Malformed("special-file", "is no regular file")
        if found.st_size <= READ_WHOLE:
            yield Source(path, file.read(READ_WHOLE + 1), sizes)
            return
        with mmap.mmap(handle, 0, access=mmap.ACCESS_READ) as mapped:
            yield Source(path, mapped, sizes)


def is_text(data: Bytes) -> bool:
    """Is all of *data* UTF-8 without control characters but white space? Reads in pieces."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, max(len(data), 1), CHUNK):
        piece = data[start : start + CHUNK]
        try:
            decoder.decode(piece, final=start + CHUNK >= len(data))
        except UnicodeDecodeError:
            return False
        if piece.translate(None, _CONTROLS) != piece:
            return False
    return True


_CONTROLS = bytes(code for code in range(32) if code not in b"\t\n\r\f\v")
