"""How long to wait before another try: doubled every time, bounded."""

from __future__ import annotations

from collections.abc import Iterator


def pauses(tries: int, *, first: float = 0.5, most: float = 15.0) -> Iterator[float]:
    """Seconds to wait after each failed try but the last; *tries* of them are made in all."""
    for number in range(tries - 1):
        yield min(first * 2**number, most)
