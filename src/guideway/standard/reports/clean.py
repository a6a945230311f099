"""Clean: text that others wrote, made fit to print: no control characters, nothing that turns the writing round."""

from __future__ import annotations

import unicodedata

from guideway.kit.printable import TURNING

LONGEST = 4000
"""Characters of one field that a report shows; the rest is cut and said to be cut."""


def clean(text: str) -> str:
    """*text* on one line, without control characters and marks of direction, at most `LONGEST` characters."""
    line = " ".join(text.translate(TURNING).split())
    line = "".join(" " if unicodedata.category(one) in ("Cc", "Cs", "Co", "Cn") else one for one in line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} […]"
