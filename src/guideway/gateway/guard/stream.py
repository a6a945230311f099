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
        if self._over:
            raise Stop("over")
        at = 0
        try:
            for stream in self._streams:
                if not text:
                    break
                at += 1
                text = stream.feed(text)
            return text
        except Exception as error:
            raise self._stop(error, at) from None

    def end(self) -> str:
        """The rest of all streams, the first one's through all that follow."""
        if self._over:
            raise Stop("over")
        text, at = "", 0
        try:
            for stream in self._streams:
                at += 1
                text = _through(stream, text)
            return text
        except Exception as error:
            raise self._stop(error, at) from None

    def _stop(self, error: Exception, after: int) -> Stop:
        """How the answer ends; what a rule still lets pass goes through those *after* it."""
        self._over = True
        return Stop(error.reason, self._after(error.text, after)) if isinstance(error, Stop) else Stop("a rule failed")

    def _after(self, text: str, start: int) -> str:
        """What the streams from *start* on leave of the last *text*."""
        for stream in self._streams[start:]:
            try:
                text = _through(stream, text)
            except Stop as stop:
                text = stop.text
            except Exception:
                return ""
        return text


def _through(stream: TextStream, text: str) -> str:
    """The last *text* of *stream*, with what it held back."""
    return (stream.feed(text) if text else "") + stream.end()


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
