"""Text in base64: personal data that only a decoder sees."""

from __future__ import annotations

import base64
import binascii

RUN = rb"[A-Za-z0-9+/_\-]{16,}={0,2}|[A-Za-z0-9+/_\-]{10,}={1,2}"
_SAMPLE = 64
_LARGEST = 65536
_URL_SAFE = str.maketrans("-_", "+/")


def decode(run: str) -> str | None:
    """The text that *run* encodes; None where it encodes none that one could read."""
    plain = run.rstrip("=").translate(_URL_SAFE)[:_LARGEST]
    if len(plain) % 4 == 1:
        plain = plain[:-1]
    if not _readable(_bytes(plain[:_SAMPLE]), cut=True):
        return None
    return _readable(_bytes(plain), cut=len(run) > _LARGEST)


def _bytes(plain: str) -> bytes:
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except binascii.Error:
        return b""


def _readable(data: bytes, *, cut: bool) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if not cut or error.start < len(data) - 3:
            return None
        text = data[: error.start].decode("utf-8")
    odd = sum(not one.isprintable() and one not in "\r\n\t" for one in text)
    return text if text and odd == 0 else None
