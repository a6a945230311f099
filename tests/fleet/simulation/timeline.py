"""Simulated time: a clock that never jumps, one that people can set, and what is to happen when."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

EPOCH = 1_900_000_000.0
"""What the wall clock says when a simulation begins, in seconds since 1970."""


class Timeline:
    """Seconds since the beginning; events at the same moment happen in the order in which they were asked for."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jumped = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def steady(self) -> float:
        """Never jumps."""
        return self.now

    def wall(self) -> float:
        """Seconds since 1970, as far as this machine knows."""
        return EPOCH + self.now + self.jumped

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Do *action* so much later."""
        heapq.heappush(self._events, (self.now + max(0.0, seconds), next(self._numbers), action))

    def next_at(self) -> float:
        """When the next event is; infinity: there is none."""
        return self._events[0][0] if self._events else float("inf")

    def take(self) -> Callable[[], None]:
        """The next event, which is due now."""
        at, _, action = heapq.heappop(self._events)
        self.now = max(self.now, at)
        return action
