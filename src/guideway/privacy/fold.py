"""Look-alikes undone: full-width and foreign digits, zero-width characters, exotic dashes and spaces, JSON escapes."""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import NamedTuple

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_DROPPED = {"Cf", "Me"}
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
_SAME = {chr(code) for code in range(128)}
"""Characters that are known to be no look-alikes; grows to the alphabets in use, at most to all of Unicode."""


class Folded(NamedTuple):
    """``plain`` is what a reader would take the text for, ``flat`` the same in Latin-1 with ``?`` for the rest.

    ``origin`` has the place in the text of every character of ``plain``, and one more for its end; None: the same.
    """

    plain: str
    flat: bytes
    origin: list[int] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where characters *start* to *end* of ``plain`` are in the text."""
        if self.origin is None:
            return start, end
        return self.origin[start], max(self.origin[end], self.origin[end - 1] + 1)


def fold(text: str) -> Folded:
    """*text* without disguise."""
    if "\\u" in text:
        return _rewritten(text)
    if text.isascii():
        return Folded(text, text.encode("ascii"), None)
    unknown = set(text) - _SAME
    table = {ord(one): other for one in unknown if (other := fold_character(one)) != one}
    _SAME.update(one for one in unknown if ord(one) not in table)
    if any(len(other) != 1 for other in table.values()):
        return _rewritten(text)
    plain = _replaced(text, table)
    return Folded(plain, plain.encode("latin-1", "replace"), None)


def _replaced(text: str, table: dict[int, str]) -> str:
    if len(table) > 16:
        return text.translate(table)
    for one, other in table.items():  # several times as fast for a few
        text = text.replace(chr(one), other)
    return text


def unescape(text: str) -> str:
    r"""*text* with every ``\uXXXX`` as the character it stands for."""
    if "\\u" not in text:
        return text
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@functools.lru_cache(maxsize=65536)
def fold_character(one: str) -> str:
    """What *one* looks like: a character of ASCII or more, nothing, or itself."""
    if one.isascii():
        return one
    category = unicodedata.category(one)
    if category in _DROPPED or one in _FILLERS or (category == "Mn" and _joins(one)):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(one))
    if category in {"Zs", "Pd"} or one == "\u2212":
        return " " if category == "Zs" else "-"
    usual = unicodedata.normalize("NFKC", one)
    return usual if usual.isascii() and len(usual) <= 3 else one


def _joins(one: str) -> bool:
    """Marks that sit on a character of any script, and selectors of a variant."""
    return one < "\u0370" or "\u20d0" <= one <= "\u20ff" or "\ufe00" <= one <= "\ufe0f" or one >= "\U000e0100"


def _rewritten(text: str) -> Folded:
    pieces: list[str] = []
    origin: list[int] = []
    at = 0
    while at < len(text):
        escape = _ESCAPE.match(text, at) if text[at] == "\\" else None
        one = _character(int(escape[1], 16)) if escape else fold_character(text[at])
        pieces.append(one)
        origin += [at] * len(one)
        at = escape.end() if escape else at + 1
    origin.append(len(text))
    plain = "".join(pieces)
    return Folded(plain, plain.encode("latin-1", "replace"), origin)


def _character(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        return "?"
    return fold_character(chr(code)) if code >= 0x20 else " "
