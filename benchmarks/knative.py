"""Knative's autoscaler with its documented defaults, as a peer: stable and panic window over concurrency.

After knative.dev/docs/serving/autoscaling and its default configuration: a stable window of 60 s, a panic window of a
tenth of it, panic at twice the ready replicas, 70 % of the places of a replica as the target, up to a thousand times
more and down to half in one step, a tick of 2 s. The target of 100 that holds where a replica has no limit is not used.
"""

from __future__ import annotations

import math
from collections import deque

from guideway.rollout.load import Reading

TICK = 2.0
STABLE, PANIC, THRESHOLD = 60.0, 6.0, 2.0
UTILISATION, UP, DOWN = 0.7, 1000.0, 2.0


class Knative:
    """A scaler: told a reading every two seconds, it answers how many replicas there should be."""

    def __init__(self, places: int) -> None:
        self._target = UTILISATION * places
        self._seen: deque[tuple[float, float]] = deque()
        self._panic: float | None = None
        self._most = 0

    def __call__(self, reading: Reading) -> int:
        """How many from now on; at least one, for scaling to zero is not what is compared."""
        now, ready = reading.at, max(1, reading.ready)
        self._seen.append((now, (reading.in_flight or 0.0) + reading.queued))
        while self._seen[0][0] <= now - STABLE:
            self._seen.popleft()
        wanted = self._bounded(self._mean(now, STABLE), ready)
        urgent = math.ceil(self._mean(now, PANIC) / self._target)
        if urgent / ready >= THRESHOLD:
            self._panic = now
        elif self._panic is not None and self._panic + STABLE < now:
            self._panic, self._most = None, 0
        if self._panic is None:
            return max(1, wanted)
        self._most = max(self._most, wanted, self._bounded(self._mean(now, PANIC), ready))
        return max(1, self._most)

    def _bounded(self, concurrency: float, ready: int) -> int:
        least, most = math.floor(ready / DOWN), math.ceil(ready * UP)
        return min(max(math.ceil(concurrency / self._target), least), most)

    def _mean(self, now: float, window: float) -> float:
        values = [value for at, value in self._seen if at > now - window]
        return sum(values) / len(values)
