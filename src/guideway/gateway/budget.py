"""How many requests may be tried again: a share of those that come, so that retries never feed an overload."""

from __future__ import annotations

FLOOR = 10.0
"""Retries that are there in a quiet time, when a share of almost nothing would be nothing."""
MOST = 256.0
"""Retries that may be saved up: a replica that dies leaves a handful of requests at once, not a flood."""
QUIET = 5
"""Requests in a second below which nothing can be overloaded."""

RETRIED = frozenset({502, 503, 504})
"""Statuses of a replica after which another one may know better: it had no answer, rather than a bad one."""


class RetryBudget:
    """While no second is quiet, retries ≤ max(FLOOR, *share* × requests). The floor is lent, and paid back first."""

    __slots__ = ("_count", "_debt", "_second", "_share", "_tokens", "denied", "spent")

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens = self._debt = FLOOR if share else 0.0
        self._second = self._count = 0
        self.spent = self.denied = 0

    def request(self, now: float) -> None:
        """A request came, at *now* in seconds of the worker's clock."""
        second = int(now)
        if second != self._second:
            self._turn(second)
        self._count += 1
        if self._debt > 0.0:
            self._debt -= self._share
        elif self._tokens < MOST:
            self._tokens += self._share

    def take(self) -> bool:
        """May one request be tried again? It is paid for with this call."""
        if self._tokens < 1.0:
            self.denied += 1
            return False
        self._tokens -= 1.0
        self.spent += 1
        return True

    def _turn(self, second: int) -> None:
        """After a quiet second the floor is there again."""
        quiet = self._count < QUIET or second != self._second + 1
        if quiet and self._share and self._tokens < FLOOR:
            self._debt = min(FLOOR, self._debt + FLOOR - self._tokens)
            self._tokens = FLOOR
        self._second, self._count = second, 0
