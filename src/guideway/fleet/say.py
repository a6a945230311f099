"""What the controller says in its log. A full disk must not end whoever says so."""

from __future__ import annotations

import contextlib
import sys


def say(text: str) -> None:
    """Write one line, if it can be written."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
