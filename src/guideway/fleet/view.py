"""One environment as the controller sees it, and how many replicas its releases should have. Pure."""

from __future__ import annotations

import enum
import math
from typing import Literal

import msgspec

from guideway.core.artifact import Digest
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Arm, Endpoint, Route


class Standing(enum.StrEnum):
    """How the gateway of an environment stands.

    ``stale``: it serves with settings that are no longer wanted; ``other``: so too, and it can take up no others while
    it runs; ``changing``: it takes up what is wanted; ``refused``: it cannot, and serves as before.
    """

    NONE = "none"
    COMING = "coming"
    UP = "up"
    OTHER = "other"
    STALE = "stale"
    CHANGING = "changing"
    REFUSED = "refused"


class Death(msgspec.Struct, frozen=True):
    """How often a kind of process ended unasked, when it did so last, and what it said at the end."""

    count: int
    at: float
    words: str = ""


class Beside(msgspec.Struct, frozen=True):
    """The candidate's place beside the stable release: its share of the requests now, and the one that comes next.

    ``shadow``: it answers copies. ``limits`` of latency are in milliseconds.
    """

    weight: float
    then: float
    unit: Literal["request", "caller"] = "request"
    shadow: bool = False
    limits: tuple[float, ...] = ()


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One environment as the controller sees it.

    ``steady`` is the time of a clock that never jumps, as are those of deaths and ``routed``. So are the seconds for
    which the controller has seen the rollout in its phase (``waited``), and each starting replica (``starting``, by
    id). ``baked``: seconds since ``last_done`` was done.
    ``replicas`` are the rows of processes that live and were not asked to end by this controller; ``launching`` says
    how many more are being started, by release. ``deaths`` tells what ended unasked, by release or under ``gateway``.
    ``refused`` says why a release must not run, and ``waits`` why a starting replica is not ready, by id; ``refusal``
    is why the gateway refused its settings. ``routed`` is when the route last changed. ``beside``: the rollout does
    not take over at once. ``size``: so many replicas the load asks for, instead of the fixed number.
    """

    steady: float
    routed: float
    waited: float = 0.0
    baked: float = 0.0
    state: EnvironmentState
    route: Route | None
    rollout: Rollout | None
    last_done: Rollout | None
    replicas: tuple[Replica, ...]
    launching: dict[Digest, int]
    deaths: dict[str, Death]
    refused: dict[Digest, str]
    waits: dict[str, str]
    gateway: Standing
    starting: dict[str, float] = {}
    refusal: str = ""
    beside: Beside | None = None
    size: int | None = None

    @property
    def all_replicas(self) -> int:
        """How many replicas a release has that has all traffic; at least one while a rollout looks at them."""
        size = self.state.replicas if self.size is None else self.size
        return max(1, size) if self.rollout else size

    @property
    def stable(self) -> Arm | None:
        """The release that has the traffic, and where."""
        return self.route.stable if self.route else None

    def of(self, release: Digest) -> list[Replica]:
        """Replicas of *release* that are to stay as things are, the ready and old ones first."""
        found = [one for one in self.replicas if one.release == release and one.state != "stopping"]
        return sorted(found, key=lambda one: (one.state != "ready", one.since, one.id))


def wanted(view: View, release: Digest) -> int:
    """How many replicas of *release* there should be. A candidate beside the stable release has those that its next
    weight needs: they are warm before it rises.
    """
    return _share(view, release, view.all_replicas)


def needed(view: View, release: Digest) -> int:
    """How many of them the rollout can be undone for: what the load asked for meanwhile is no fault of a candidate."""
    rollout, all_of_them = view.rollout, view.all_replicas
    if rollout and rollout.release == release and rollout.size is not None:
        all_of_them = min(all_of_them, max(1, rollout.size))
    return _share(view, release, all_of_them)


def is_spare(view: View, release: Digest) -> bool:
    """Has the candidate *release*, without the replica that has just failed to start, all that it needs?"""
    candidate = view.rollout is not None and view.rollout.release == release
    return candidate and there(view, release) >= needed(view, release)


def spare(release: Digest) -> str:
    """Under what the deaths of replicas of *release* are counted that it did not need."""
    return f"spare {release}"


def _share(view: View, release: Digest, all_of_them: int) -> int:
    """How many replicas *release* has when one that gets all traffic has *all_of_them*, unless a rollout says more."""
    rollout = view.rollout
    if rollout is None or release != rollout.release or (view.stable and view.stable.release == release):
        return all_of_them
    if rollout.then and not rollout.then.scale:
        all_of_them = rollout.then.replicas
    if view.beside is None or rollout.phase is Phase.SWITCHING:
        return all_of_them
    return max(1, math.ceil(all_of_them * view.beside.then))


def there(view: View, release: Digest) -> int:
    """How many replicas of *release* run, or are being started."""
    return len(view.of(release)) + view.launching.get(release, 0)


def ready_endpoints(view: View, release: Digest) -> tuple[Endpoint, ...]:
    """Where the ready replicas of *release* listen, as many as are wanted, in the order of their ports."""
    kept = view.of(release)[: wanted(view, release)]
    return tuple(Endpoint("127.0.0.1", port) for port in sorted(one.port for one in kept if one.state == "ready"))
