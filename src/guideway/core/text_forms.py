"""The forms under which a text is looked at, so that how it is written hides nothing of what it says. Pure."""

from __future__ import annotations

import unicodedata

_LOOKALIKES = "авсԁеёғɡһніїјкӏмпорԛгѕтцѵѡԝхуʏᴢαβϲδεηικνορστυχγωıɩłøđħŧօսɑꞵꮯᴏᴀᴇᴍʙɴʀᴛɪʟᴜᴄᴅɢʜᴊᴋᴘᴠᴡ"
_MEANT = "abcdeefghhiijklmnopqrstuvwwxyyzabcdenikvopotuxywiilodhtouabcoaembnrtilucdghjkpvw"
"""Letters that look like a Latin one, in small form, and that one."""

_TAGS = {0xE0000 + code: code for code in range(0x20, 0x7F)}
"""Invisible twins of ASCII: no reader sees them, a model reads them."""

_LATIN = str.maketrans(_LOOKALIKES, _MEANT)


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
