"""What to do next in one environment. Pure: rows and facts in, actions out; called again after they are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from guideway.core.artifact import Digest
from guideway.core.launch import Replica
from guideway.core.rollout import Phase, Rollout
from guideway.core.route import Arm, Endpoint, Route
from guideway.fleet.view import Beside, Standing, View, needed, ready_endpoints, spare, there, wanted

DEATHS_ALLOWED = 3
"""A candidate's replica or a gateway that dies this often while a rollout waits for it fails the rollout."""
SETTLE = 0.5
"""Seconds that gateway workers get to follow a route before a replica that left it is asked to end."""
READY_WITHIN = 60.0
"""Seconds that a replica gets to become ready when no rollout says how many."""


class Start(msgspec.Struct, frozen=True):
    """Start one replica of a release."""

    release: Digest


class Stop(msgspec.Struct, frozen=True):
    """Stop a replica, letting it finish what it answers."""

    replica: str


class Candidate(msgspec.Struct, frozen=True):
    """Who stands beside the stable release, where, and with what share."""

    release: Digest
    endpoints: tuple[Endpoint, ...]
    rollout: str
    beside: Beside


class SetRoute(msgspec.Struct, frozen=True):
    """Send all traffic to these replicas of a release, but for what a candidate gets.

    On behalf of a rollout it is only done while that is still running.
    """

    release: Digest
    endpoints: tuple[Endpoint, ...]
    rollout: str = ""
    candidate: Candidate | None = None


class Move(msgspec.Struct, frozen=True):
    """Take a rollout into another phase, unless something else has ended it meanwhile.

    ``restore``: the gateway refused what it asked for; at the same moment the settings that serve are wanted again.
    """

    rollout: str
    phase: Phase
    reason: str = ""
    restore: bool = False


class StartGateway(msgspec.Struct, frozen=True):
    """Start the gateway."""


class StopGateway(msgspec.Struct, frozen=True):
    """Stop the gateway, letting it finish what it answers."""


class ReloadGateway(msgspec.Struct, frozen=True):
    """Let the gateway take up the settings that are wanted, while it serves."""


class RestoreGateway(msgspec.Struct, frozen=True):
    """Want the settings again that the gateway serves with."""


Action = Start | Stop | SetRoute | Move | StartGateway | StopGateway | ReloadGateway | RestoreGateway


def decide(view: View) -> list[Action]:
    """The next actions; empty when everything is as it should be, or only time can help."""
    if not view.state.up:
        return _down(view)
    serving = serving_releases(view)
    actions: list[Action] = [route] if (route := reroute(view)) else []
    for release in serving:
        actions += _missing(view, release)
    return [*actions, *_gateway(view), *_rollout(view), *_surplus(view, serving)]


def serving_releases(view: View) -> list[Digest]:
    """The releases that should have all their replicas: the candidate and the stable one."""
    wanted = [view.rollout.release] if view.rollout else []
    if view.stable:
        wanted.append(view.stable.release)
    return list(dict.fromkeys(wanted))


def warm_release(view: View) -> Digest | None:
    """The release before, which keeps what still runs of it while it bakes: a rollback needs nothing else.

    So it does between the new route and the end of the rollout, which may come late.
    """
    rollout, done = view.rollout, view.last_done
    if view.stable is None:
        return None
    if done is not None and done.release == view.stable.release:
        return done.previous if view.baked < done.bake else None
    return rollout.previous if rollout and rollout.release == view.stable.release else None


def _down(view: View) -> list[Action]:
    """Everything ends: first nobody is let in, then the gateway finishes, then the replicas."""
    actions: list[Action] = []
    if view.rollout:
        actions.append(
            Move(view.rollout.id, Phase.FAILED, "the environment was taken down; `guideway up` brings it back")
        )
    if view.stable and view.route and (view.stable.endpoints or view.route.candidate):
        actions.append(SetRoute(view.stable.release, ()))
    if view.gateway is not Standing.NONE:
        return [*actions, StopGateway()]
    return [*actions, *(Stop(one.id) for one in view.replicas)]


def reroute(view: View) -> SetRoute | None:
    """The route as it should be: the ready replicas of the stable release, and the candidate beside it; None: it is."""
    if view.stable is None or view.route is None or _about_to_switch(view):
        return None
    candidate = _candidate(view)
    endpoints = ready_endpoints(view, view.stable.release)
    if (endpoints, candidate) == (view.stable.endpoints, _on_route(view.route)):
        return None
    return SetRoute(view.stable.release, endpoints, candidate.rollout if candidate else "", candidate)


def _about_to_switch(view: View) -> bool:
    """Is the next route the one that gives the candidate everything? No other one comes between."""
    rollout = view.rollout
    return rollout is not None and rollout.phase is Phase.SWITCHING and bool(ready_endpoints(view, rollout.release))


def _candidate(view: View) -> Candidate | None:
    """Who should stand beside the stable release; nobody before the first weight, and nobody who has no replica."""
    rollout, beside = view.rollout, view.beside
    if rollout is None or beside is None or not rollout.phase.beside or not beside.weight:
        return None
    endpoints = ready_endpoints(view, rollout.release)
    return Candidate(rollout.release, endpoints, rollout.id, msgspec.structs.replace(beside, then=0.0))


def _on_route(route: Route) -> Candidate | None:
    """Who stands there."""
    if route.candidate is None:
        return None
    beside = Beside(route.weight, 0.0, route.unit, route.shadow, route.limits)
    return Candidate(route.candidate.release, route.candidate.endpoints, route.rollout, beside)


def _missing(view: View, release: Digest) -> list[Action]:
    """Start what is missing; later, if it just died; not at all, if it must not run."""
    missing = wanted(view, release) - there(view, release)
    if missing <= 0 or release in view.refused or _too_soon(view, release):
        return []
    if _too_soon(view, spare(release)):
        missing = min(missing, needed(view, release) - there(view, release))
    return [Start(release)] * missing


def _too_soon(view: View, what: str) -> bool:
    """Back off: twice as long after every death, half a minute at most."""
    death = view.deaths.get(what)
    return death is not None and view.steady < death.at + min(0.25 * 2.0 ** (death.count - 1), 30.0)


def _gateway(view: View) -> list[Action]:
    if view.gateway is Standing.OTHER:
        return [StopGateway()]
    if view.gateway is Standing.STALE:
        return [ReloadGateway()]
    if view.gateway is Standing.REFUSED:  # with a rollout under way this goes with its end: whoever asked is told
        return [] if view.rollout else [RestoreGateway()]
    return [StartGateway()] if view.gateway is Standing.NONE and not _too_soon(view, "gateway") else []


def _surplus(view: View, serving: Sequence[Digest]) -> list[Action]:
    """Stop what nobody wants, once no worker can still be sending requests there."""
    kept = {one.id for release in serving for one in view.of(release)[: wanted(view, release)]}
    warm = warm_release(view)
    arms = (view.route.stable, view.route.candidate) if view.route else ()
    routed = {endpoint.port for arm in arms if arm for endpoint in arm.endpoints}
    settled = view.steady >= view.routed + SETTLE
    return [
        Stop(one.id)
        for one in view.replicas
        if one.state == "stopping"
        or _stuck(view, one)
        or (
            one.id not in kept
            and (one.release != warm or one.release in serving)
            and (one.state == "starting" or (settled and one.port not in routed))
        )
    ]


def _stuck(view: View, replica: Replica) -> bool:
    """Was it started to replace another one, or for the load, and does not become ready?"""
    rollout = view.rollout
    if rollout and rollout.release == replica.release and not _is_covered(view, rollout):
        return False  # the rollout has its own deadline
    known = rollout if rollout and rollout.release == replica.release else view.last_done
    patience = known.ready_within if known else READY_WITHIN
    return replica.state == "starting" and view.starting.get(replica.id, 0.0) > patience


def _is_covered(view: View, rollout: Rollout) -> bool:
    """Has the candidate the ready replicas that it needs?"""
    return len(ready_endpoints(view, rollout.release)) >= needed(view, rollout.release)


def _rollout(view: View) -> list[Action]:
    """The next step of the running rollout, if it can take one."""
    rollout = view.rollout
    if rollout is None:
        return []
    endpoints = ready_endpoints(view, rollout.release)
    reason = _hopeless(view, rollout, len(endpoints))
    if reason and rollout.phase is not Phase.SWITCHING:
        return [Move(rollout.id, Phase.FAILED, reason, restore=view.gateway is Standing.REFUSED)]
    if rollout.phase is Phase.PENDING:
        return [Move(rollout.id, Phase.STARTING)]
    if rollout.phase is Phase.STARTING:
        return [Move(rollout.id, _after_start(view))] if _is_ready(view, rollout) else []
    if rollout.phase.beside:
        return _beside(view, rollout, len(endpoints))
    if view.route and _serves(view.stable, rollout.release, endpoints) and view.route.model == view.state.model:
        return [Move(rollout.id, Phase.DONE)]
    if not endpoints:
        return [Move(rollout.id, Phase.STARTING, "its replicas died")]
    return [SetRoute(rollout.release, endpoints, rollout.id)]


def _is_ready(view: View, rollout: Rollout) -> bool:
    """Can the candidate have traffic? When its time is over, with what it needs."""
    enough = (needed if _is_late(view, rollout) else wanted)(view, rollout.release)
    return len(ready_endpoints(view, rollout.release)) >= enough and view.gateway is Standing.UP


def _is_late(view: View, rollout: Rollout) -> bool:
    return view.waited > rollout.ready_within


def _after_start(view: View) -> Phase:
    """What follows once the replicas are ready."""
    if view.beside is None or view.stable is None:
        return Phase.SWITCHING
    return Phase.SHADOW if view.beside.shadow else Phase.CANARY


def _beside(view: View, rollout: Rollout, ready: int) -> list[Action]:
    """A shadow ends when a person says so; of a canary the judge decides."""
    promoted = rollout.phase is Phase.SHADOW and rollout.promoted_by and ready >= wanted(view, rollout.release)
    return [Move(rollout.id, Phase.SWITCHING, f"{rollout.promoted_by} promoted it")] if promoted else []


def _hopeless(view: View, rollout: Rollout, ready: int) -> str:
    """Why the rollout should be undone; empty while there is hope."""
    if rollout.release in view.refused:
        return view.refused[rollout.release]
    if rollout.phase is Phase.PENDING:
        return ""
    if view.gateway is Standing.REFUSED:
        return f"the gateway keeps its settings: {view.refusal}"
    for what, name in ((rollout.release, "a replica"), ("gateway", "the gateway")):
        death = view.deaths.get(what)
        if death and death.count >= DEATHS_ALLOWED:
            return f"{name} died {death.count} times" + (f": {death.words}" if death.words else "")
    if rollout.phase.beside:  # here it is the judge who counts the time
        return ""
    if not _is_late(view, rollout) or _is_ready(view, rollout):
        return ""
    return _unready(view, rollout, ready)


def _unready(view: View, rollout: Rollout, ready: int) -> str:
    """What was missing when the time was over."""
    counts = Counter(one.state for one in view.of(rollout.release))
    seen = [f"{count} {state}" for state, count in sorted(counts.items())] or ["none started"]
    seen += sorted({view.waits[one.id] for one in view.of(rollout.release) if view.waits.get(one.id)})
    waits = "" if view.gateway is Standing.UP else "; the gateway is not up"
    within = f"{rollout.ready_within:.0f} s"
    return f"{ready} of {needed(view, rollout.release)} replicas ready after {within} ({', '.join(seen)}){waits}"


def _serves(arm: Arm | None, release: Digest, endpoints: tuple[Endpoint, ...]) -> bool:
    return arm is not None and (arm.release, arm.endpoints) == (release, endpoints)
