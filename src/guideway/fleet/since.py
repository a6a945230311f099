"""For how long something has been as it is, by a clock that never jumps: somebody may set the other one at any time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from guideway.core.launch import Replica
from guideway.core.rollout import Rollout


class Since:
    """What one controller saw of all environments; it began at *began*, in seconds since 1970.

    *steady* is a clock that never jumps.
    """

    def __init__(self, steady: Callable[[], float], began: float) -> None:
        self._steady, self._at, self._began = steady, steady(), began
        self._seen: dict[Hashable, tuple[Hashable, float]] = {}
        self._started: dict[str, float] = {}

    def waited(self, environment: str, rollout: Rollout | None) -> float:
        """For how many seconds we have seen *rollout* in its phase."""
        return self._seconds(("phase", environment), rollout and (rollout.id, rollout.phase, rollout.updated))

    def baked(self, environment: str, done: Rollout | None) -> float:
        """How many seconds ago *done* was done. What passed before we began is told by the other clock alone."""
        what = "done", environment
        if done and what not in self._seen and done.updated <= self._began:
            self._seen[what] = done.id, self._at - (self._began - done.updated)
        return self._seconds(what, done and done.id)

    def starting(self, replicas: Iterable[Replica]) -> dict[str, float]:
        """For how many seconds we have known each of *replicas* that start, by id."""
        now = self._steady()
        return {one.id: now - self._started.setdefault(one.id, now) for one in replicas if one.state == "starting"}

    def forget(self, replica: str) -> None:
        """The replica with this id is gone."""
        self._started.pop(replica, None)

    def _seconds(self, what: Hashable, value: Hashable) -> float:
        """For how long *what* has had this value."""
        now = self._steady()
        known, since = self._seen.setdefault(what, (value, now))
        if known != value:
            self._seen[what] = value, (since := now)
        return now - since
