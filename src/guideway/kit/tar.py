"""Plain tar files, member by member: nothing is unpacked, no header is trusted, equal members give equal bytes."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = tarfile.BLOCKSIZE
_PIECE = 1 << 20
_LARGEST_HEADER = 64 << 10
_PADDING = 1 << 20
"""Bytes of zeros that may follow the end."""


class TarError(ValueError):
    """This is not a tar file that we read; the text says why."""


class Member(NamedTuple):
    """One entry. Of ``kind`` ``file``, ``folder``, or what else it is; ``start`` is where its ``size`` bytes begin."""

    name: str
    kind: str
    size: int
    start: int


def header(name: str, size: int) -> bytes:
    """The header of a file of *size* bytes, without time and owner, mode 0644."""
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What follows *size* bytes of a member."""
    return b"\0" * (-size % _BLOCK)


def end(written: int) -> bytes:
    """What ends a file of *written* bytes."""
    return b"\0" * (2 * _BLOCK + -(written + 2 * _BLOCK) % tarfile.RECORDSIZE)


def members(file: BinaryIO) -> Iterator[Member]:
    """The members in order. Between two of them the bytes of the first may be read with :func:`content`, or not.

    Raises:
        TarError: a header is damaged or unusual, the file is cut off, or something follows its end.
    """
    whole = file.seek(0, os.SEEK_END)
    position, records = 0, dict[str, str]()
    while True:
        file.seek(position)
        info = _header(file.read(_BLOCK))
        if info is None:
            return _check_end(file)
        start = position + _BLOCK
        size = int(records["size"]) if "size" in records else info.size
        if not 0 <= size <= whole - start:
            raise TarError("it is cut off")
        position = start + size + -size % _BLOCK
        if info.type == tarfile.XHDTYPE:
            records = _records(file.read(size) if size <= _LARGEST_HEADER else b"")
            continue
        yield Member(records.get("path", info.name), _kind(info), size, start)
        records = {}


def content(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """The bytes of *member*, in pieces."""
    file.seek(member.start)
    left = member.size
    while left:
        piece = file.read(min(_PIECE, left))
        if not piece:
            raise TarError("it is cut off")
        left -= len(piece)
        yield piece


def _header(block: bytes) -> tarfile.TarInfo | None:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except tarfile.HeaderError as error:
        if str(error) == "end of file header":
            return None
        raise TarError("it is cut off" if len(block) < _BLOCK else "a header is damaged") from None
    except UnicodeDecodeError:
        raise TarError("a name is not UTF-8") from None


def _kind(info: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.REGTYPE: "file",
        tarfile.AREGTYPE: "file",
        tarfile.DIRTYPE: "folder",
        tarfile.SYMTYPE: "symbolic link",
        tarfile.LNKTYPE: "hard link",
        tarfile.CHRTYPE: "device",
        tarfile.BLKTYPE: "device",
        tarfile.FIFOTYPE: "pipe",
    }
    return kinds.get(info.type, "special entry")


def _records(data: bytes) -> dict[str, str]:
    """A pax header: lines of ``length key=value``. Times and owners are of no use here; anything odd is refused."""
    found: dict[str, str] = {}
    while data:
        length, _, rest = data.partition(b" ")
        if not length.isdigit() or len(length) > 6 or not len(length) + 3 < int(length) <= len(data):
            raise TarError("an extended header is damaged")
        key, equals, value = rest[: int(length) - len(length) - 1].partition(b"=")
        if not equals or not value.endswith(b"\n") or key.startswith(b"GNU.sparse") or key == b"linkpath":
            raise TarError("an extended header is damaged or unusual")
        found[_text(key)] = _text(value[:-1])
        data = data[int(length) :]
    size = found.get("size", "0")
    if not found or not (size.isascii() and size.isdigit() and len(size) < 20):
        raise TarError("an extended header is damaged or too large")
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise TarError("an extended header is not UTF-8") from None


def _check_end(file: BinaryIO) -> None:
    rest = file.read(_PADDING + 1)
    if len(rest) < _BLOCK or len(rest) > _PADDING or rest.strip(b"\0"):
        raise TarError("it does not end as it should")
