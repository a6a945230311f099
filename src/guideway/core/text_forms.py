"""The forms under which a text is looked at, so that how it is written hides nothing of what it says. Pure."""

from __future__ import annotations

import unicodedata

_LOOKALIKES = {
    "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "ё": "e", "ғ": "f", "ɡ": "g", "һ": "h", "н": "h", "і": "i", "ї": "i",
    "ј": "j", "к": "k", "ӏ": "l", "м": "m", "п": "n", "о": "o", "р": "p", "ԛ": "q", "г": "r", "ѕ": "s", "т": "t", "ц": "u",
    "ѵ": "v", "ѡ": "w", "ԝ": "w", "х": "x", "у": "y", "ʏ": "y", "ᴢ": "z", "α": "a", "β": "b", "ϲ": "c", "δ": "d",
    "ε": "e", "η": "n", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "σ": "o", "τ": "t", "υ": "u", "χ": "x",
    "γ": "y", "ω": "w", "ı": "i", "ɩ": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "օ": "o", "ս": "u",
    "һ": "h", "ɑ": "a", "ꞵ": "b", "ꮯ": "c", "ᴏ": "o", "ᴀ": "a", "ᴇ": "e", "ᴍ": "m", "ʙ": "b", "ɴ": "n", "ʀ": "r", "ᴛ": "t",
    "ɪ": "i", "ʟ": "l", "ᴜ": "u", "ᴄ": "c", "ᴅ": "d", "ɢ": "g", "ʜ": "h", "ᴊ": "j", "ᴋ": "k", "ᴘ": "p", "ᴠ": "v", "ᴡ": "w",
}  # fmt: skip
"""Letters that look like a Latin one, in small form."""

_TAGS = {0xE0000 + code: code for code in range(0x20, 0x7F)}
"""Invisible twins of ASCII: no reader sees them, a model reads them."""

_LATIN = str.maketrans(_LOOKALIKES)


def forms(text: str) -> tuple[str, ...]:
    """*text* as it is, then with what hides it taken away, then with look-alikes as Latin letters; none twice.

    A rule must be tried on each: the last form destroys Russian and Greek, the first is easily disguised.
    """
    if text.isascii():
        return (text,)
    return tuple(dict.fromkeys((text, _unhidden(text), latin(text))))


def latin(text: str) -> str:
    """*text* in small Latin letters as far as it can be read so, without accents and without invisible characters."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", _unhidden(text).translate(_LATIN))
    plain = "".join(char for char in decomposed if unicodedata.category(char) not in {"Mn", "Me"})
    return unicodedata.normalize("NFC", plain)


def _unhidden(text: str) -> str:
    """NFKC, case folded, tags read as what they stand for, and no character that is only a direction or a joint."""
    shown = unicodedata.normalize("NFKC", text.translate(_TAGS)).casefold()
    return "".join(char for char in shown if unicodedata.category(char) not in {"Cf", "Cc"} or char in "\n\t\r")
