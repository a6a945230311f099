"""An answer that is kept, and which answers may be."""

from __future__ import annotations

from typing import Any

import msgspec

LARGEST = 1024 * 1024
EVENTS = b"text/event-stream"
_FAILED = frozenset({"error", "abort"})
_MARKS = (b'"error"', b'"abort"', b"event: error", b"event:error")


class Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A whole answer. Of a stream, ``body`` is all its events as they came, with the last, ``[DONE]``.

    ``usage`` is (tokens of the prompt, tokens of the answer); ``created`` is in seconds since 1970. ``outlier`` is the
    share of ordinary texts that are as far off as the request, where the answer told it.
    """

    status: int
    content_type: bytes
    body: bytes
    usage: tuple[int, int] | None
    created: float
    outlier: float | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Piece(msgspec.Struct):
    """What an answer, or an event of it, says of its own failure."""

    error: Any = None
    object: str | None = None
    choices: list[_Choice] = []

    @property
    def failed(self) -> bool:
        return bool(self.error) or self.object == "error" or any(one.finish_reason in _FAILED for one in self.choices)


_piece = msgspec.json.Decoder(_Piece).decode


def is_whole(status: int, content_type: bytes, body: bytes) -> bool:
    """May this answer be given to somebody else? Only a success that is complete, sound and at most 1 MiB long."""
    if status != 200 or len(body) > LARGEST:
        return False
    if content_type[: len(EVENTS)].lower() == EVENTS:
        return _stream_is_whole(body)
    return _is_sound(body)


def is_ordinary(status: int, content_type: bytes, body: bytes) -> bool:
    """Is an answer that told its usage, so that it was read as JSON, surely whole? It speaks of no failure."""
    if status != 200 or content_type.startswith(EVENTS) or len(body) > LARGEST or not body.startswith(b"{"):
        return False
    return b'"error"' not in body and b'"abort"' not in body


def _stream_is_whole(body: bytes) -> bool:
    last = body.rstrip().rpartition(b"\n")[2]
    if last.replace(b" ", b"") != b"data:[DONE]":
        return False
    if not any(mark in body for mark in _MARKS):
        return True
    lines = body.replace(b"\r", b"\n").split(b"\n")
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    named = any(line.replace(b" ", b"") == b"event:error" for line in lines)
    return not named and all(map(_is_sound, data[:-1]))


def _is_sound(text: bytes) -> bool:
    try:
        return not _piece(text).failed
    except (ValueError, RecursionError):
        return False
