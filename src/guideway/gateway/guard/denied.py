"""Patterns that no answer may contain, although it comes in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from guideway.gateway.guard.regex import beginnings, compiled
from guideway.gateway.guard.stream import Stop

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

    __slots__ = ("_before", "_held", "_patterns")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._before = ""  # the last character that was sent: a word border may depend on it
        self._held = ""

    def feed(self, text: str) -> str:
        """What can no longer be part of a match."""
        self._held += text
        return self._give(self._safe(last=False))

    def end(self) -> str:
        """All that is held, if nothing in it is denied."""
        return self._give(self._safe(last=True))

    def _safe(self, *, last: bool) -> int:
        """How many of the held characters may go."""
        text, start = self._before + self._held, len(self._before)
        safe = len(text)
        for one in self._patterns:
            found = one.whole.search(text, start)
            if found is not None:
                if last or found.end() < len(text) or len(text) - found.start() > HOLD:
                    raise Stop("denied", text[start : max(start, found.start())])
                safe = min(safe, found.start())  # the next character may show that it is none, or a longer one
            if not last:
                safe = min(safe, self._begun(one, text, start))
        return safe - start

    def _begun(self, one: Pattern, text: str, start: int) -> int:
        if one.begun is None:
            return max(start, len(text) - BLIND)
        at: int = one.begun.search(text, start).start()
        return max(at, len(text) - HOLD)

    def _give(self, count: int) -> str:
        given, self._held = self._held[:count], self._held[count:]
        self._before = given[-1:] or self._before
        return given
