"""What counts as the right answer. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def cut(answer: str, stop: Sequence[str]) -> str:
    """*answer* up to the first of the *stop* strings, which is not part of it."""
    ends = [at for at in (answer.find(one) for one in stop if one) if at >= 0]
    return answer[: min(ends)] if ends else answer


def is_right(answer: str, wanted: str) -> bool:
    """Whether two answers say the same, whatever their letter case and white space."""
    return _plain(answer) == _plain(wanted)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()
