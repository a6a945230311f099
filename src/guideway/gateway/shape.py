"""The events of a stream differ in one text: the bytes around it are known again, and need not be read again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from guideway.gateway.channels import FIXED, Channels, Path, says_nothing

_PLAIN = re.compile(rb"[^\"\\\x00-\x1f\x7f]+").fullmatch
"""A text that JSON writes as it is."""
_MARK = "guideway:text"
_decode = msgspec.json.decode
_encode = msgspec.json.encode


class Shape:
    """One event without its text: ``before`` and ``after`` as they came, and as they are written when the text changes.

    ``silent``: with an empty text it tells a reader nothing. ``chunk`` is what the event says, with some other text.
    """

    __slots__ = ("_clean", "_length", "after", "before", "channels", "chunk", "path", "silent")

    def __init__(self, before: bytes, after: bytes, chunk: dict[str, Any], channels: Channels, path: Path) -> None:
        self.before, self.after, self.chunk, self.channels, self.path = before, after, chunk, channels, path
        self._length = len(before) + len(after)
        first, _, rest = _encode(chunk).partition(_MARK.encode())
        self._clean = b"data: " + first, rest + b"\n\n"
        emptied = _decode(_encode(chunk["choices"]).replace(_MARK.encode(), b""))
        self.silent = says_nothing(emptied) and not chunk.get("usage")

    def text(self, event: bytes) -> str | None:
        """The text of *event*; None: it has another shape, or its text is written with escapes."""
        if not event.startswith(self.before) or not event.endswith(self.after) or len(event) <= self._length:
            return None
        text = event[len(self.before) : -len(self.after)]
        try:
            return text.decode() if _PLAIN(text) else None
        except UnicodeDecodeError:
            return None

    def event(self, text: str) -> bytes:
        """An event with another *text*."""
        return b"%b%b%b" % (self._clean[0], _encode(text)[1:-1], self._clean[1])


def shape_of(
    event: bytes, channels: Callable[[dict[str, Any]], Channels], hide: Callable[[dict[str, Any]], bool] | None
) -> Shape | None:
    """The shape of *event*, which was read before and is sound; None: it is none of the usual ones.

    It must have one choice that goes on, with one text in it and no calls. That the bytes around the text are really
    around it is proven: with another text between them they are read as the same event with that text.
    """
    if not event.startswith(b"data: {") or event.count(b"\n") != 2 or b"\r" in event:
        return None
    chunk = _decode(event[6:-2])
    found = _only_text(chunk)
    if found is None or (hide is not None and hide(chunk)):
        return None
    path, text = found
    _put(chunk, path, _MARK)
    needle = b'"%b"' % text.encode()
    for at in {event.rfind(needle) + 1, event.find(needle) + 1}:
        before, after = event[:at], event[at + len(needle) - 2 :]
        if at > 0 and _means(before + _MARK.encode() + after, chunk):
            return Shape(before, after, chunk, channels(chunk["choices"][0]), path)
    return None


def _means(event: bytes, chunk: dict[str, Any]) -> bool:
    try:
        return bool(_decode(event[6:-2]) == chunk) and _encode(chunk).count(_MARK.encode()) == 1
    except msgspec.DecodeError:
        return False


def _only_text(chunk: dict[str, Any]) -> tuple[Path, str] | None:
    choices = chunk["choices"]
    choice = choices[0] if len(choices) == 1 else {}
    if choice.get("finish_reason") is not None or choice.get("logprobs") is not None:
        return None
    texts = list(_texts(choice))
    if len(texts) != 1 or not isinstance(texts[0][1], str) or not _PLAIN(texts[0][1].encode()):
        return None
    return texts[0]


def _texts(choice: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    """All in a choice that is looked at, with its place."""
    for name, value in choice.items():
        if name == "delta" and isinstance(value, dict):
            yield from (
                ((name, inner), part) for inner, part in value.items() if part is not None and inner not in FIXED
            )
        elif value is not None and name not in FIXED:
            yield (name,), value


def _put(chunk: dict[str, Any], path: Path, text: str) -> None:
    """Give *chunk* another text."""
    value = chunk["choices"][0]
    for name in path[:-1]:
        value = value[name]
    value[path[-1]] = text


def with_text(event: bytes, path: Path, text: str) -> dict[str, Any]:
    """What *event* says, with another *text*."""
    chunk: dict[str, Any] = _decode(event[6:-2])
    _put(chunk, path, text)
    return chunk
