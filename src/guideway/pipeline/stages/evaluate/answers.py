"""What counts as the right answer. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from guideway.replica.text import StopStrings


def cut(answer: str, stop: Sequence[str]) -> str:
    """*answer* up to the first of the *stop* strings, which is not part of it."""
    strings = StopStrings(stop)
    text, ended = strings.push(answer)
    return text if ended else text + strings.finish()


def is_right(answer: str, wanted: str) -> bool:
    """Whether two answers say the same, whatever their letter case and white space."""
    return _plain(answer) == _plain(wanted)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()
