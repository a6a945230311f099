"""PNG and JPEG pictures, as a model card has them: whole, and with nothing behind them."""

from __future__ import annotations

from collections.abc import Iterable

from guideway.sealing.scanner.findings import Malformed
from guideway.sealing.scanner.source import Said, Source

LIMIT = 64 << 20
"""Bytes of a picture."""
PNG = b"\x89PNG\r\n\x1a\n"


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with a file that begins as a picture does."""
    if source.starts(PNG, b"\xff\xd8\xff") and source.size > LIMIT:
        raise Malformed("too-large", f"is a picture of {source.size} bytes")
    if source.starts(PNG):
        return _png(source)
    if source.starts(b"\xff\xd8\xff"):
        return _jpeg(source)
    return None


def _png(source: Source) -> Iterable[Said]:
    at, kind = len(PNG), b""
    while kind != b"IEND":
        (size,) = source.unpack(">I", at, "image")
        kind = source.data[at + 4 : at + 8]
        at += 12 + size
        if at > source.size or not kind.isalpha():
            raise Malformed("image", "is a broken PNG")
    if at != source.size:
        raise Malformed("image", f"is a PNG with {source.size - at} bytes behind its end")
    return []


def _jpeg(source: Source) -> Iterable[Said]:
    if source.data[-2:] != b"\xff\xd9":
        raise Malformed("image", "is a JPEG that does not end as one")
    return []
