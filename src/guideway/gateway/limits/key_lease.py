"""One key at one worker: its lease, what requests have reserved of it, who waits, and what is to be told."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from guideway.gateway.errors import ApiError
from guideway.gateway.limits.amounts import NOTHING, Amounts, Budget, least, limited, plus


class Reservation:
    """What one request may use. It is settled once; that of a key without limits is shared by all its requests."""

    __slots__ = ("key", "minute", "need", "session")

    def __init__(self, key: str, need: Amounts = NOTHING, minute: int = 0, session: int = -1) -> None:
        self.key, self.need, self.minute, self.session = key, need, minute, session


class Waiter(Protocol):
    """A request that waits for a lease."""

    def granted(self, outcome: Reservation | ApiError) -> bool:
        """Go on, or answer with the error; False when the client left: the reservation is given back."""


class KeyLease:
    """One key with limits. ``lease`` is what can be reserved until ``until``; ``held`` is reserved."""

    __slots__ = (
        "asked", "budget", "closed", "counted", "held", "hold", "key", "lease", "minute", "most", "refusal", "refused",
        "session", "told", "until", "unused", "used_at", "waiting",
    )  # fmt: skip

    def __init__(self, key: str, budget: Budget) -> None:
        self.key = key
        self.limit(budget)
        self.lease = self.held = self.told = NOTHING
        self.minute = self.session = 0
        self.until = self.used_at = self.hold = 0.0
        self.closed: dict[int, Amounts] = {}
        self.unused: dict[int, Amounts] = {}
        self.waiting: deque[tuple[Waiter, Amounts, float]] = deque()
        self.asked = False
        self.refused = (0, 0)

    def limit(self, budget: Budget) -> None:
        """This budget holds from now on."""
        self.budget, self.counted, self.most = budget, limited(budget), least(*budget)
        self.refusal: ApiError | None = None

    @property
    def rests(self) -> bool:
        """Is there nothing to tell, to give back or to wait for?"""
        return not (self.waiting or self.asked or self.closed) and self.lease == NOTHING and self.held == self.told

    def count(self, requests: int, tokens: int, money: int) -> Amounts:
        """These amounts, where they are limited."""
        counted = self.counted
        return Amounts(requests if counted[0] else 0, tokens if counted[1] else 0, money if counted[2] else 0)

    def close(self, minute: int, closed: Amounts, unused: Amounts) -> None:
        """Remember for the next report."""
        self.closed[minute] = plus(self.closed.get(minute, NOTHING), closed)
        self.unused[minute] = plus(self.unused.get(minute, NOTHING), unused)

    def void(self, session: int) -> None:
        """Give up what of the lease is not reserved. A lease of a limiter that is gone cannot be given back."""
        if self.lease != NOTHING and self.session == session:
            self.close(self.minute, self.lease, self.lease)
        self.lease = NOTHING
