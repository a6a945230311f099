"""Text that flows: what every transformer of an answer's text is, a row of them, and what happens when one fails."""

from __future__ import annotations

from collections.abc import Sequence

from guideway.privacy.stream import Stop, TextStream


class Row:
    """Streams one after the other. An exception in one of them ends the answer: a rule that fails lets nothing pass."""

    __slots__ = ("_over", "_streams")

    def __init__(self, streams: Sequence[TextStream]) -> None:
        self._streams = tuple(streams)
        self._over = False

    def feed(self, text: str) -> str:
        """*text* through all streams."""
        return self._run(text, 0, last=False)

    def end(self) -> str:
        """The rest of all streams, the first one's through all that follow."""
        return self._run("", 0, last=True)

    def _run(self, text: str, start: int, *, last: bool) -> str:
        if self._over:
            raise Stop("over")
        for at in range(start, len(self._streams)):
            try:
                text = _through(self._streams[at], text, last=last)
            except Stop as stop:
                self._over = True
                raise Stop(stop.reason, self._after(stop.text, at + 1)) from None
            except Exception:
                self._over = True
                raise Stop("a rule failed") from None
        return text

    def _after(self, text: str, start: int) -> str:
        """What the streams from *start* on leave of the last *text*."""
        for stream in self._streams[start:]:
            try:
                text = _through(stream, text, last=True)
            except Stop as stop:
                text = stop.text
            except Exception:
                return ""
        return text


def _through(stream: TextStream, text: str, *, last: bool) -> str:
    said = stream.feed(text) if text else ""
    return said + stream.end() if last else said


class Limit:
    """At most so many characters of an answer."""

    __slots__ = ("_left",)

    def __init__(self, characters: int) -> None:
        self._left = characters

    def feed(self, text: str) -> str:
        """*text*, until the limit is reached."""
        if len(text) > self._left:
            raise Stop("max_output", text[: self._left])
        self._left -= len(text)
        return text

    def end(self) -> str:
        """Nothing is held back."""
        return ""


__all__ = ["Limit", "Row", "Stop", "TextStream"]
