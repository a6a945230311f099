"""Clean: text that others wrote, made fit to print: no control characters, nothing that turns the writing round."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 4000
"""Characters of one field that a report shows; the rest is cut and said to be cut."""
_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


def clean(text: str) -> str:
    """*text* on one line, without control characters and marks of direction, at most `LONGEST` characters."""
    line = " ".join(_TURNING.sub("", text).split())
    line = "".join(" " if unicodedata.category(one) in ("Cc", "Cs", "Co", "Cn") else one for one in line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} […]"
