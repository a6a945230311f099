"""Where a piece of JSON stands: inside a string, or outside."""

from __future__ import annotations

import re

_MARK = re.compile(r'\\(?:.|\Z)|"', re.DOTALL)


class Quotes:
    """Reads JSON piece by piece. ``inside``: the next character belongs to a string."""

    __slots__ = ("_escaped", "inside")

    def __init__(self) -> None:
        self.inside = self._escaped = False

    def read(self, text: str) -> None:
        """A further piece, cut anywhere."""
        if not text:
            return
        escaped, self._escaped = self._escaped, False
        for mark in _MARK.finditer(text, int(escaped)):
            if mark[0] == '"':
                self.inside = not self.inside
            else:
                self._escaped = len(mark[0]) == 1
