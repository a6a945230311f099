"""One JSON object a line on standard error. Keys, prompts and answers never appear here."""

from __future__ import annotations

import os
import sys
import time

import msgspec


def log(event: str, **facts: str | float | None) -> None:
    """Write one line about *event*."""
    line = {"at": round(time.time(), 3), "pid": os.getpid(), "event": event, **facts}
    sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
    sys.stderr.flush()
