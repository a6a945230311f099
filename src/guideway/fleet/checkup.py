"""Does a replica that serves still answer as a model does? The gateway avoids one that does not; we replace it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from guideway.core.launch import Replica
from guideway.targets.probe import ProbeResult

EVERY = 15.0
"""Seconds between two questions to one replica."""
LIES, SILENCES = 2, 6
"""So many answers in a row that are none end a replica; or so many times that it said nothing, since it may be busy."""


class _Seen(msgspec.Struct):
    asked: float
    lies: int = 0
    silences: int = 0


class Checkup:
    """Of all replicas; *steady* is a clock that never jumps."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seen: dict[str, _Seen] = {}

    def due(self, replica: Replica) -> bool:
        """Should *replica*, which serves, be asked now? If so, it counts as asked."""
        now = self._steady()
        seen = self._seen.setdefault(replica.id, _Seen(now))
        if now - seen.asked < EVERY:
            return False
        seen.asked = now
        return True

    def hopeless(self, replica: Replica, result: ProbeResult) -> bool:
        """Must *replica* be replaced, after it answered *result*?"""
        seen = self._seen.setdefault(replica.id, _Seen(self._steady()))
        seen.lies = seen.lies + 1 if result.lies else 0
        seen.silences = 0 if result.ready or result.lies else seen.silences + 1
        return seen.lies >= LIES or seen.silences >= SILENCES

    def forget(self, id: str) -> None:
        """The replica with this id is gone."""
        self._seen.pop(id, None)
