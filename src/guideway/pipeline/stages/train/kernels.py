"""bitsandbytes, imported so that it fetches no code and reports to nobody.

peft imports it wherever it is installed, whatever the recipe; so it is brought in here, before peft.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

FOUR_BITS = "bitsandbytes"
"""What holds a base in four bits; no other recipe than qlora needs it."""
QUIET = {"BNB_DISABLE_TELEMETRY": "1"}
"""Nothing is reported to anybody, should a version try."""
FETCHES = "kernels"
"""With this library, bitsandbytes fetches compiled code from a hub when it is imported, and runs it."""


def bring_bitsandbytes() -> Any:
    """The library, with the kernels of its own distribution alone; None where it is not installed."""
    if find_spec(FOUR_BITS) is None:
        return None
    os.environ |= QUIET
    logging.getLogger(FOUR_BITS).setLevel(logging.ERROR)  # it misses what it may not fetch
    with _absent(FETCHES):
        import bitsandbytes
    return bitsandbytes


@contextlib.contextmanager
def _absent(library: str) -> Iterator[None]:
    """A block in which importing *library* fails as if it were not installed."""
    kept = sys.modules.get(library)
    sys.modules[library] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[library]
        if kept is not None:
            sys.modules[library] = kept
