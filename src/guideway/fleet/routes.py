"""From what the controller decided to the route that workers follow. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from guideway.core.artifact import Digest
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState
from guideway.core.route import Arm, Endpoint, Route
from guideway.fleet.decide import SetRoute


def route_of(
    state: EnvironmentState, asked: SetRoute, old: Route | None, replicas: Iterable[Replica], *, epoch: int
) -> Route:
    """The route that *asked* means, to follow *old*; *replicas* know what their releases ask of the gateway."""
    known = {one.release: one for one in replicas if one.state == "ready"}
    route = Route(
        environment=state.name,
        model=state.model,
        revision=old.revision + 1 if old else 1,
        epoch=epoch,
        stable=_arm(asked.release, asked.endpoints, known, old),
        wakes=state.scale.wake if state.up and state.scale and not state.scale.min else 0.0,
    )
    if asked.candidate is None:
        return route
    candidate, beside = asked.candidate, asked.candidate.beside
    return msgspec.structs.replace(
        route,
        candidate=_arm(candidate.release, candidate.endpoints, known, old),
        weight=beside.weight,
        rollout=candidate.rollout,
        unit=beside.unit,
        shadow=beside.shadow,
        limits=beside.limits,
    )


def ready(replicas: Iterable[Replica], route: Route | None) -> int:
    """Replicas of the stable release that serve."""
    stable = route.stable.release if route and route.stable else None
    return sum(one.release == stable and one.state == "ready" for one in replicas)


def _arm(release: Digest, endpoints: tuple[Endpoint, ...], known: dict[Digest, Replica], old: Route | None) -> Arm:
    """The arm of *release*, with what its replicas know of it; while there is none, with what the old route said."""
    replica = known.get(release)
    if replica:
        return Arm(release, endpoints, replica.terms, replica.probe)
    before = next((one for one in (old.stable, old.candidate) if one and one.release == release), None) if old else None
    return msgspec.structs.replace(before, endpoints=endpoints) if before else Arm(release, endpoints)
