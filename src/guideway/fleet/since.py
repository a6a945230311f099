"""For how long something has been as it is, by a clock that never jumps: somebody may set the other one at any time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

from guideway.core.launch import Replica
from guideway.core.rollout import Rollout


class Since:
    """What one controller saw, of all environments; *steady* is a clock that never jumps. Gone with the controller."""

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        self._seen: dict[Hashable, tuple[Hashable, float]] = {}
        self._started: dict[str, float] = {}

    def waited(self, environment: str, rollout: Rollout | None) -> float:
        """For how many seconds we have seen *rollout* in its phase."""
        return self._seconds(("phase", environment), rollout and (rollout.id, rollout.phase, rollout.updated))

    def baked(self, environment: str, done: Rollout | None, now: float) -> float:
        """How many seconds ago *done* was done. What passed before we came is told by the other clock, at *now*."""
        first = ("done", environment) not in self._seen
        before = max(0.0, now - done.updated) if first and done else 0.0
        return self._seconds(("done", environment), done and done.id, before)

    def starting(self, replicas: Iterable[Replica]) -> dict[str, float]:
        """For how many seconds we have known each of *replicas* that start, by id."""
        now = self._steady()
        return {one.id: now - self._started.setdefault(one.id, now) for one in replicas if one.state == "starting"}

    def forget(self, replica: str) -> None:
        """The replica with this id is gone."""
        self._started.pop(replica, None)

    def _seconds(self, what: Hashable, value: Hashable, before: float = 0.0) -> float:
        """For how long *what* has had this value; when we see it so for the first time, *before*."""
        now = self._steady()
        known, since = self._seen.get(what, (None, now))
        if what not in self._seen or known != value:
            since = now - before
            self._seen[what] = value, since
        return now - since
