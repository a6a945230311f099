"""Zip files, also behind something else: refused, and named by what their members show."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

from guideway.sealing.scanner import pickles
from guideway.sealing.scanner.findings import shown
from guideway.sealing.scanner.source import Bytes, Said, Source

END = b"PK\x05\x06"
END_SIZE = 22
TAIL = END_SIZE + 0xFFFF
"""The record at the end lies within so many bytes: it may be followed by a comment."""
DIRECTORY_LIMIT = 8 << 20
MEMBERS = 64
"""Members that are looked into."""
PREFIX = 64 << 10
_ENCRYPTED = 0x1


def look(source: Source) -> Iterable[Said] | None:
    """A finding when the file is a zip, or ends in one, as readers of zips see it."""
    at_start = source.starts(b"PK\x03\x04", b"PK\x07\x08PK\x03\x04", END)
    if not at_start and not _directory(source.data):
        return None
    where = "" if at_start else " behind other data"
    rule, what = _named(source.data)
    return [source.finding(rule if at_start or rule != "archive" else "polyglot", what + where)]


def _directory(data: Bytes) -> int:
    """The size in bytes of the central directory that *data* ends with; 0 when there is none."""
    tail = bytes(data[-TAIL:])
    place = tail.rfind(END)
    while place >= 0:
        record = tail[place : place + END_SIZE]
        size = int.from_bytes(record[12:16], "little")
        comment = int.from_bytes(record[20:22], "little")
        begin = len(data) - len(tail) + place - size
        fits = len(record) == END_SIZE and len(tail) - place - END_SIZE <= comment + 64
        if fits and begin >= 0 and (data[begin : begin + 4] == b"PK\x01\x02" or record[10:20].count(b"\xff") >= 6):
            return max(size, END_SIZE)
        place = tail.rfind(END, 0, place)
    return 0


def _named(data: Bytes) -> tuple[str, str]:
    """The rule and the words for the zip in *data*; a broken one is an archive all the same."""
    if _directory(data) > DIRECTORY_LIMIT:
        return "archive", "is a zip archive with a huge directory"
    try:
        with zipfile.ZipFile(io.BufferedReader(_Window(data))) as archive:
            return _by_members(archive)
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, OverflowError, EOFError, RuntimeError):
        return "archive", "is a broken zip archive"


class _Window(io.RawIOBase):
    """The bytes of a file as a file again, without a copy."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, len(self._data))[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _by_members(archive: zipfile.ZipFile) -> tuple[str, str]:
    members = archive.infolist()
    names = [member.filename for member in members]
    inner = {name.partition("/")[2] for name in names}
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        return "torchscript", "is TorchScript, a program with its weights"
    if {"config.json", "metadata.json"} & set(names) and any(name.endswith(".h5") for name in names):
        return "keras", "is a Keras model, whose layers can hold code"
    for member in members[:MEMBERS]:
        head = _head(archive, member)
        walk = pickles.walked(head)
        if pickles.is_pickle(walk, head, headed=head[:1] == b"\x80"):
            rule, what = pickles.described(walk, head[:64])
            rule = "torch-pickle" if member.filename.endswith("data.pkl") else rule
            return rule, f"is a zip in which {shown(member.filename)} {what}"
    return "archive", "is a zip archive"


def _head(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """The beginning of *member*, whatever its checksum says: a wrong one stops some scanners but no loader."""
    del member.CRC
    member.flag_bits &= ~_ENCRYPTED
    try:
        with archive.open(member) as file:
            return file.read(PREFIX)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, EOFError, RuntimeError):
        return b""
