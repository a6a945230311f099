"""The texts of one choice of an answer, each with a stream of its own: content, reasoning, arguments of every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from guideway.privacy.stream import Stop, TextStream

Make = Callable[[str], TextStream]
"""A new stream for a text; the argument is the name of its field, and ``arguments`` are JSON inside a string."""

Path = tuple[str | int, ...]

LIMIT = 1024
"""How many texts one choice may have."""

FIXED = frozenset(
    {"finish_reason", "format", "id", "index", "logprobs", "object", "role", "status", "stop_reason", "type"}
)
"""Fields that are no text."""
_AT_ONCE = frozenset({"name"})
_TOKENS = ("logprobs", "token_ids")
"""Fields of a choice that say the text once more, token by token."""


class Channels:
    """Changes the texts of one choice in place.

    ``stopped``: a stream has said that the answer ends here. ``spoke``: the last ``feed`` let a text through.
    """

    __slots__ = ("_changed", "_heard", "_make", "_streams", "finished", "spoke", "stopped")

    def __init__(self, make: Make) -> None:
        self._make = make
        self._streams: dict[Path, TextStream] = {}
        self._changed = self._heard = False
        self.finished = self.spoke = self.stopped = False

    def feed(self, choice: dict[str, Any], *, last: bool) -> bool:
        """Change the texts of *choice*; did any? *last*: what they hold back comes with them."""
        self._changed = self._heard = self.spoke = False
        self._walk(choice, (), last)
        unheard = not self._heard and not last  # tokens whose text is still to come, which nobody has looked at
        return (without_tokens(choice) if self._changed or unheard else False) or self._changed

    def known(self, path: Path, text: str) -> str | None:
        """A further *text* of the one that stands at *path*, changed; None: none goes on there."""
        stream = self._streams.get(path)
        return None if stream is None or self.stopped else self._fed(stream, text)

    def rest(self) -> Iterator[dict[str, Any]]:
        """What texts that did not come again have held back, each as the fields of a choice."""
        streams, self._streams = self._streams, {}
        for path, stream in streams.items():
            text = self._ended(stream)
            if text:
                yield _nested(path, text)

    def _walk(self, value: Any, path: Path, last: bool) -> Any:
        if isinstance(value, str):
            return self._text(value, path, last)
        if isinstance(value, dict):
            for name, part in value.items():
                if part is not None and name not in FIXED:
                    value[name] = self._walk(part, (*path, name), last or name in _AT_ONCE)
        elif isinstance(value, list) and not (value and isinstance(value[0], float)):  # an embedding has no text
            for place, part in enumerate(value):
                number = part.get("index", place) if isinstance(part, dict) else place
                value[place] = self._walk(part, (*path, number if isinstance(number, int) else place), last)
        return value

    def _text(self, text: str, path: Path, last: bool) -> str:
        if self.stopped:
            new = ""
        else:
            new = self._fed(self._stream(path), text)
            if last and not self.stopped:
                new += self._ended(self._streams.pop(path))
        self._changed = self._changed or new != text
        self._heard = self._heard or text != ""
        self.spoke = self.spoke or new != ""
        return new

    def _stream(self, path: Path) -> TextStream:
        stream = self._streams.get(path)
        if stream is None:
            if len(self._streams) >= LIMIT:
                raise ValueError("an answer with too many texts")
            stream = self._streams[path] = self._make(str(path[-1]))
        return stream

    def _fed(self, stream: TextStream, text: str) -> str:
        try:
            return stream.feed(text)
        except Stop as stop:
            self.stopped = True
            return stop.text

    def _ended(self, stream: TextStream) -> str:
        if self.stopped:
            return ""
        try:
            return stream.end()
        except Stop as stop:
            self.stopped = True
            return stop.text


def without_tokens(choice: dict[str, Any]) -> bool:
    """Take the tokens out of *choice*: they say what its texts do not, or not any more. Were there any?"""
    found = [name for name in _TOKENS if choice.get(name) is not None]
    for name in found:
        choice[name] = None
    return bool(found)


def says_nothing(value: Any) -> bool:
    """Is there nothing in *value* that a reader would miss?"""
    if isinstance(value, dict):
        return all(says_nothing(part) for name, part in value.items() if name != "index")
    if isinstance(value, list):
        return all(map(says_nothing, value))
    return value is None or value == ""


def _nested(path: Path, text: str) -> dict[str, Any]:
    value: Any = text
    for name in reversed(path):
        if isinstance(name, str):
            value = {name: value}
        else:
            value = [{"index": name, **value} if isinstance(value, dict) else value]
    made: dict[str, Any] = value
    return made
