"""Who answers a request: the arm by its weight, the replica by what it has to do. Pure but for the counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from guideway.core.artifact import short
from guideway.core.route import Arm, Endpoint, Route

ArmName = Literal["stable", "candidate"]

EJECT_AFTER = 3
EJECT_SECONDS = 1.0


class Backend:
    """What one worker knows of one endpoint. Times are seconds of the worker's clock."""

    __slots__ = ("_failures", "ejected_until", "endpoint", "outstanding")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.outstanding = 0
        self.ejected_until = 0.0
        self._failures = 0

    def connected(self) -> None:
        """A connection was made: earlier failures no longer count."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """A connection could not be made; after three in a row the endpoint is left alone for a second."""
        self._failures += 1
        if self._failures >= EJECT_AFTER:
            self.ejected_until = now + EJECT_SECONDS


class ServingArm[B: Backend](msgspec.Struct, frozen=True):
    """One arm of the route, with the backends of its endpoints. ``release`` is the short digest."""

    name: ArmName
    release: bytes
    backends: tuple[B, ...]
