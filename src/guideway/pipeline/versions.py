"""Versions of what results depend on: distributions, the interpreter, and programs that are none of ours."""

from __future__ import annotations

import sys
from functools import cache

from guideway.engines import llamacpp
from guideway.kit import installed

ABSENT = "absent"


@cache
def version_of(name: str) -> str:
    """The version of the distribution *name*, of ``python``, or of the program ``llama.cpp``; or ``ABSENT``."""
    if name == "python":
        return ".".join(map(str, sys.version_info[:3]))
    return (llamacpp.version() if name == "llama.cpp" else installed.version_of(name)) or ABSENT
