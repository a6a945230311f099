"""Text inside JSON: characters that were written as escapes are written plainly, so that every rule sees them."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|[^u])", re.DOTALL)
_WHOLE = re.compile(r"(?:[^\\]|\\u[0-9a-fA-F]{4}|\\u[0-9a-fA-F]{0,3}[^0-9a-fA-F]|\\[^u])*", re.DOTALL)


class Escapes:
    """Writes ``\\u0041`` as ``A`` in pieces of JSON; what it means stays the same."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """*text* with letters for escapes; an escape that is not whole waits."""
        text = self._held + text
        if "\\" not in text:
            return text
        found = _WHOLE.match(text)
        end = found.end() if found else 0
        self._held = text[end:]
        return _ESCAPE.sub(_letter, text[:end])

    def end(self) -> str:
        """Half an escape at the end is no letter."""
        held, self._held = self._held, ""
        return held


def _letter(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16)) if escape[1] else ""
    return char if char.isprintable() and char not in '"\\' else escape[0]
