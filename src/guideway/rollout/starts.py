"""How long a replica takes to start, from starts that were measured."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST, LAST = 3, 20


def cold_start(seconds: Sequence[float]) -> float | None:
    """The slowest of the last twenty starts, order to first token, oldest first; None if fewer than three are known."""
    return max(seconds[-LAST:]) if len(seconds) >= FEWEST else None
