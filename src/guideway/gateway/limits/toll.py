"""What asks no model counts as one request of its key all the same: a judgement, a file, a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from guideway.core.route import ApiKey
from guideway.gateway.errors import ApiError
from guideway.gateway.limits.amounts import Estimate, Used
from guideway.gateway.limits.key_lease import Reservation, Waiter
from guideway.gateway.limits.meter import Taken, Waiting


class Measure(Protocol):
    """Who counts: the meter of this worker."""

    def take(self, key: ApiKey, estimate: Estimate, waiter: Waiter) -> Taken:
        """Reserve *estimate*."""

    def settle(self, reservation: Reservation, used: Used) -> None:
        """So much of it was used."""


class Toll:
    """One request that is counted before it is dealt with; *go* hears None, or why it is refused, unless dropped."""

    __slots__ = ("_go", "_meter")

    def __init__(self, meter: Measure, key: ApiKey, go: Callable[[ApiError | None], None]) -> None:
        self._meter = meter
        self._go: Callable[[ApiError | None], None] | None = go
        taken = meter.take(key, Estimate(), self)
        if not isinstance(taken, Waiting):
            self.granted(taken)

    def granted(self, outcome: Reservation | ApiError) -> bool:
        """What the limits say; False when the client has left meanwhile."""
        go, self._go = self._go, None
        if go is None:
            return False
        if isinstance(outcome, ApiError):
            go(outcome)
        else:
            self._meter.settle(outcome, Used(1))
            go(None)
        return True

    def drop(self) -> None:
        """The client is gone."""
        self._go = None
