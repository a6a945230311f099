"""Patterns that no answer may contain, although it comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from guideway.guardrails.regex import beginnings, compiled
from guideway.privacy.stream import Stop

HOLD = 4096
"""Characters that are held back at most. Of a match that is longer, the first ones may have been sent."""
BLIND = 128
"""Characters that are held back for a pattern whose beginnings cannot be told."""


class Pattern(msgspec.Struct, frozen=True):
    """One rule made ready: ``whole`` finds a match, ``begun`` finds where one could be under way."""

    name: str
    whole: Any
    begun: Any | None


def pattern(name: str, text: str) -> Pattern:
    """The rule *name* with the pattern *text*.

    Raises:
        ValueError: RE2 does not take it.
    """
    return Pattern(name, compiled(text), beginnings(text))


class Denied:
    """Ends an answer before the first match of any pattern, and holds back what could become one."""

    __slots__ = ("_from", "_patterns", "_sent", "_text")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._text = ""  # what is held, and before it what may decide about it
        self._from = 0  # where a match may begin; the character before it tells about word borders
        self._sent = 0  # how much of it went already

    def feed(self, text: str) -> str:
        """What can no longer be part of a match."""
        self._text += text
        return self._give(last=False)

    def end(self) -> str:
        """All that is held, if nothing in it is denied."""
        return self._give(last=True)

    def _give(self, *, last: bool) -> str:
        text = self._text
        keep = len(text)
        for one in self._patterns:
            keep = min(keep, self._undecided(one, last=last))
        to = max(keep, len(text) - HOLD, self._sent)
        given = text[self._sent : to]
        begin = max(self._from, min(keep, to))
        cut = max(0, begin - 1, len(text) - 16 * HOLD)
        self._text, self._sent, self._from = text[cut:], to - cut, max(0, begin - cut)
        return given

    def _undecided(self, one: Pattern, *, last: bool) -> int:
        """From where on the text could be part of a match.

        Raises:
            Stop: there is one.
        """
        text = self._text
        start = len(text)
        found = one.whole.search(text, self._from)
        if found is not None:
            start = found.start()
            if last or found.end() < len(text) or len(text) - start > HOLD:
                raise Stop("denied", text[self._sent : max(self._sent, start)])
            # else the next character may show that it is none, or a longer one
        if last:
            return start
        if one.begun is None:
            return min(start, max(self._from, len(text) - BLIND))
        begun: int = one.begun.search(text, self._from).start()
        return min(start, begun)
