"""What to do next in one environment. Pure: rows and facts in, actions out; called again after they are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from guideway.core.artifact import Digest
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Arm, Endpoint, Route

DEATHS_ALLOWED = 3
"""A candidate's replica or a gateway that dies this often while a rollout waits for it fails the rollout."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One environment as the controller sees it at ``now``.

    ``replicas`` are the rows of processes that live, ``launching`` how many more are being started, by release.
    ``deaths`` counts processes that ended unasked, by release, and ``last_death`` says when; ``last_words`` holds the
    end of the log of the last one. The gateway's deaths are counted under ``gateway``.
    """

    now: float
    state: EnvironmentState
    route: Route | None
    rollout: Rollout | None
    last_done: Rollout | None
    replicas: tuple[Replica, ...]
    launching: dict[Digest, int]
    deaths: dict[str, int]
    last_death: dict[str, float]
    last_words: dict[str, str]
    gateway_up: bool


class Start(msgspec.Struct, frozen=True):
    """Start one replica of a release."""

    release: Digest


class Stop(msgspec.Struct, frozen=True):
    """Stop a replica, letting it finish what it answers."""

    replica: str


class SetRoute(msgspec.Struct, frozen=True):
    """Send all traffic to these replicas of a release."""

    release: Digest
    endpoints: tuple[Endpoint, ...]


class Move(msgspec.Struct, frozen=True):
    """Take a rollout into another phase."""

    phase: Phase
    reason: str = ""


class StartGateway(msgspec.Struct, frozen=True):
    """Start the gateway."""


class StopGateway(msgspec.Struct, frozen=True):
    """Stop the gateway, letting it finish what it answers."""


Action = Start | Stop | SetRoute | Move | StartGateway | StopGateway


def decide(view: View) -> list[Action]:
    """The next actions; empty when everything is as it should be, or only time can help."""
    if not view.state.up:
        gateway: list[Action] = [StopGateway()] if view.gateway_up else []
        return gateway + [Stop(one.id) for one in view.replicas]
    wanted = wanted_releases(view)
    actions: list[Action] = [Stop(one.id) for one in view.replicas if one.release not in wanted]
    for release in wanted:
        actions += _replicas_of(view, release)
    if not view.gateway_up and not _too_soon(view, "gateway"):
        actions.append(StartGateway())
    return actions + _route_of_stable(view) + _rollout(view)


def wanted_releases(view: View) -> list[Digest]:
    """The releases that should run: the candidate, the stable one, and the one before while it bakes."""
    wanted = [view.rollout.release] if view.rollout else []
    if view.route and view.route.stable:
        wanted.append(view.route.stable.release)
    done = view.last_done
    if done and done.previous and view.now < done.updated + done.bake:
        wanted.append(done.previous)
    return list(dict.fromkeys(wanted))


def _replicas_of(view: View, release: Digest) -> list[Action]:
    """Start what is missing (later, if it just died); stop what is too much, the youngest first."""
    running = sorted((one for one in view.replicas if one.release == release), key=lambda one: one.since)
    missing = view.state.replicas - len(running) - view.launching.get(release, 0)
    if missing > 0:
        return [] if _too_soon(view, release) else [Start(release)] * missing
    return [Stop(one.id) for one in running[view.state.replicas :]]


def _too_soon(view: View, what: str) -> bool:
    """Back off: twice as long after every death, half a minute at most."""
    deaths = view.deaths.get(what, 0)
    return deaths > 0 and view.now < view.last_death.get(what, 0.0) + min(0.25 * 2 ** (deaths - 1), 30.0)


def _route_of_stable(view: View) -> list[Action]:
    """Keep the route's endpoints equal to the ready replicas of the stable release."""
    if view.route is None or view.route.stable is None:
        return []
    stable = view.route.stable
    endpoints = ready_endpoints(view.replicas, stable.release)
    return [] if endpoints == stable.endpoints else [SetRoute(stable.release, endpoints)]


def ready_endpoints(replicas: Sequence[Replica], release: Digest) -> tuple[Endpoint, ...]:
    """Where ready replicas of *release* listen, in the order of their ports."""
    ports = sorted(one.port for one in replicas if one.release == release and one.state == "ready")
    return tuple(Endpoint("127.0.0.1", port) for port in ports)


def _rollout(view: View) -> list[Action]:
    """The next step of the running rollout, if it can take one."""
    rollout = view.rollout
    if rollout is None:
        return []
    if rollout.phase is Phase.PENDING:
        return [Move(Phase.STARTING)]
    endpoints = ready_endpoints(view.replicas, rollout.release)
    if rollout.phase is Phase.STARTING:
        if len(endpoints) >= view.state.replicas and view.gateway_up:
            return [Move(Phase.SWITCHING)]
        reason = _hopeless(view, rollout, len(endpoints))
        return [Move(Phase.FAILED, reason)] if reason else []
    if view.route and view.route.stable == Arm(rollout.release, endpoints):
        return [Move(Phase.DONE)]
    return [SetRoute(rollout.release, endpoints)] if endpoints else [Move(Phase.STARTING, "its replicas died")]


def _hopeless(view: View, rollout: Rollout, ready: int) -> str:
    """Why the rollout should be undone; empty while there is hope."""
    for what, name in ((rollout.release, "a replica"), ("gateway", "the gateway")):
        if view.deaths.get(what, 0) >= DEATHS_ALLOWED:
            words = view.last_words.get(what, "")
            return f"{name} died {view.deaths[what]} times" + (f": {words}" if words else "")
    if view.now > rollout.created + rollout.ready_within:
        counts = Counter(one.state for one in view.replicas if one.release == rollout.release)
        seen = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none started"
        waits = "" if view.gateway_up else "; the gateway is not up"
        return f"{ready} of {view.state.replicas} replicas ready after {rollout.ready_within:.0f} s ({seen}){waits}"
    return ""
