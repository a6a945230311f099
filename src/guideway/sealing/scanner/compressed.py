"""Compressed files: refused as they are, and named by what a bounded look inside shows."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable

from guideway.sealing.scanner import pickles
from guideway.sealing.scanner.source import Said, Source

TAKEN = 2 << 20
"""Compressed bytes that are looked at: more than two of the largest blocks of bzip2."""
MADE = 64 << 10
"""Bytes that are unpacked at most."""
SURE = 4096
"""So many unpacked bytes without an error are no accident."""
MEMORY = 64 << 20

CLOSED: dict[bytes, str] = {
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "RAR",
    b"MSCF\0\0\0\0": "cabinet",
    b"LZIP\x01": "lzip",
    b"\x1f\x9d": "compress",
    b"ZF\x30": "zlib of an old joblib",
    b"ZF0x": "zlib of an old joblib",
}
"""What is known by its first bytes and not opened."""


def look(source: Source) -> Iterable[Said] | None:
    """A finding when the file is compressed, whatever it is called."""
    for magic, called in CLOSED.items():
        if source.starts(magic) and (len(magic) > 2 or not _texty(source)):
            return [source.finding("compressed", f"is a file packed with {called}")]
    if source.data[257:262] == b"ustar":
        return [source.finding("archive", "is a tar archive")]
    for called, magics, unpack in OPENED:
        if source.starts(*magics):
            inside = unpack(source.data[:TAKEN])
            if inside is not None:
                return [_named(source, called, inside)]
    return None


def _texty(source: Source) -> bool:
    return b"\0" not in source.data[:4096]


def _named(source: Source, called: str, inside: bytes) -> Said:
    walk = pickles.walked(inside)
    if pickles.is_pickle(walk, inside, headed=inside[:1] == b"\x80"):
        rule, what = pickles.described(walk, inside[:64])
        return source.finding(rule, f"is a {called} file in which {what.removeprefix('is ')} is hidden")
    if inside[257:262] == b"ustar" or inside.startswith(b"PK\x03\x04"):
        return source.finding("archive", f"is an archive packed with {called}")
    return source.finding("compressed", f"is a file packed with {called}")


def _gunzipped(data: bytes) -> bytes | None:
    try:
        return zlib.decompressobj(wbits=31).decompress(data, MADE)
    except zlib.error:
        return b""  # broken, but nothing else begins like this


def _inflated(data: bytes) -> bytes | None:
    machine = zlib.decompressobj()
    try:
        made = machine.decompress(data, MADE)
    except zlib.error:
        return None
    return made if machine.eof or len(made) >= SURE else None


def _bunzipped(data: bytes) -> bytes | None:
    if data[4:10] not in (b"1AY&SY", b"\x17rE8P\x90"):
        return None
    try:
        return bz2.BZ2Decompressor().decompress(data, MADE)
    except (OSError, ValueError):
        return b""  # broken, but nothing else begins like this


def _unxzed(data: bytes) -> bytes | None:
    try:
        return lzma.LZMADecompressor(memlimit=MEMORY).decompress(data, MADE)
    except (lzma.LZMAError, ValueError, EOFError):
        return b""


def _unlzmaed(data: bytes) -> bytes | None:
    machine = lzma.LZMADecompressor(format=lzma.FORMAT_ALONE, memlimit=MEMORY)
    try:
        made = machine.decompress(data, MADE)
    except (lzma.LZMAError, ValueError, EOFError):
        return None
    return made if machine.eof or len(made) >= SURE else None


OPENED: tuple[tuple[str, tuple[bytes, ...], Callable[[bytes], bytes | None]], ...] = (
    ("gzip", (b"\x1f\x8b\x08",), _gunzipped),
    ("zlib", (b"x\x01", b"x\x5e", b"x\x9c", b"x\xda"), _inflated),
    ("bzip2", (b"BZh",), _bunzipped),
    ("xz", (b"\xfd7zXZ\0",), _unxzed),
    ("lzma", (b"\x5d\0\0",), _unlzmaed),
)
"""What is unpacked far enough to say what is inside; none of it is allowed."""
