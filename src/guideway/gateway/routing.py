"""Who answers a request: the arm by its weight, the replica by its prompt's beginning and how much it has to do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from guideway.core.artifact import short
from guideway.core.assignment import ArmName, Assignment, Exclusion, assign
from guideway.core.launch import Probe
from guideway.core.route import Arm, Endpoint, Route
from guideway.core.terms import Terms
from guideway.gateway.affinity import prefer
from guideway.gateway.backend import Backend


class ServingArm(msgspec.Struct, frozen=True):
    """One arm of the route with the backends of its endpoints.

    ``release`` is the short digest; ``line`` is the header line that names it. Without backends it is asleep: who asks
    for it waits until it has some.
    """

    name: ArmName
    release: str
    backends: tuple[Backend, ...]
    probe: Probe | None = None
    digest: str = ""
    terms: Terms = Terms()
    line: bytes = b""


class Table(msgspec.Struct, frozen=True):
    """A route made ready for use. An arm without endpoints is None."""

    route: Route
    stable: ServingArm | None
    candidate: ServingArm | None

    @property
    def weight(self) -> float:
        """The candidate's share of requests, in [0, 1]; in shadow it answers none."""
        return self.route.weight if self.candidate and not self.route.shadow else 0.0

    @property
    def shadowed(self) -> float:
        """The share of requests of which the candidate gets a copy, in [0, 1]."""
        return self.route.weight if self.candidate and self.route.shadow else 0.0

    def assign(self, *, key: str, uniform: float, why_not: Exclusion = "") -> tuple[Assignment, ServingArm | None]:
        """The arm for a request, and how it came by it; *key* is its caller's, or empty. None: nothing serves.

        *key* is looked at only where the route says that callers are the unit.
        """
        key = key if self.route.unit == "caller" else ""
        assignment = assign(self.route.rollout, self.weight, key=key, uniform=uniform, why_not=why_not)
        return assignment, self.candidate if assignment.arm == "candidate" else self.stable

    def draw(self, uniform: float) -> ServingArm | None:
        """The arm for a request, *uniform* being a draw from [0, 1). None: nothing serves."""
        return self.candidate if uniform < self.weight else self.stable

    def again(self, arm: ServingArm) -> ServingArm | None:
        """The arm of this name as it is now; when the candidate has gone, the stable one."""
        return (self.candidate if arm.name == "candidate" else None) or self.stable

    def backends(self) -> tuple[Backend, ...]:
        """The backends of both arms."""
        return tuple(one for arm in (self.stable, self.candidate) if arm for one in arm.backends)

    def answering(self) -> tuple[Backend, ...]:
        """The backends whose answers clients are sent: a candidate in shadow adds no room for requests."""
        return self.stable.backends if self.route.shadow and self.stable else self.backends()

    def probed(self) -> list[tuple[Backend, Probe | None]]:
        """Every backend with the question that proves it."""
        return [(one, arm.probe) for arm in (self.stable, self.candidate) if arm for one in arm.backends]


def read_route(data: bytes) -> Route:
    """The route in a route file.

    Raises:
        ValueError: it is not one.
    """
    route = msgspec.json.decode(data, type=Route)
    if not 0.0 <= route.weight <= 1.0:
        raise ValueError("the weight is not in [0, 1]")
    for arm in (route.stable, route.candidate):
        if arm and not all(0 < endpoint.port < 65536 for endpoint in arm.endpoints):
            raise ValueError("a port is not in 1 to 65535")
    return route


def replaces(new: Route, old: Route | None) -> bool:
    """May *new* replace *old*? Only a higher (epoch, revision) may."""
    return old is None or (new.epoch, new.revision) > (old.epoch, old.revision)


def compile_route(route: Route, backend: Callable[[Endpoint], Backend]) -> Table:
    """The table of *route*; *backend* gives the one object that stands for an endpoint."""
    return Table(
        route=route,
        stable=_serving("stable", route.stable, backend, asleep=route.wakes > 0.0),
        candidate=_serving("candidate", route.candidate, backend),
    )


def _serving(
    name: ArmName, arm: Arm | None, backend: Callable[[Endpoint], Backend], *, asleep: bool = False
) -> ServingArm | None:
    if arm is None or not (arm.endpoints or asleep):
        return None
    backends = tuple(backend(endpoint) for endpoint in arm.endpoints)
    for one in backends:
        one.peers = backends
    release = short(arm.release)
    line = b"x-guideway-release: %b\r\n" % release.encode()
    return ServingArm(name, release, backends, arm.probe, arm.release, arm.terms, line)


def choose(backends: tuple[Backend, ...], *, avoid: Backend | None, now: float, turn: int, prefix: int = 0) -> Backend:
    """The backend that *prefix* prefers; without one that with the least outstanding requests, equals taking turns.

    *avoid* and those that were ejected are used only when there is no other: a try is better than a refusal. One
    whose answers were found to be garbage is worse than *avoid*.
    """
    if len(backends) == 1:
        return backends[0]
    usable = [one for one in backends if one is not avoid and one.ejected_until <= now]
    usable = usable or [one for one in backends if one is not avoid and one.why != "probe"]
    if not usable:
        return avoid or backends[turn % len(backends)]
    if prefix:
        return prefer(usable, prefix)
    start = turn % len(usable)
    return min(usable[start:] + usable[:start], key=lambda one: one.outstanding)
