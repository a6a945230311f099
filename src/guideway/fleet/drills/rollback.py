"""Drill: the way back. All traffic goes to the release before and forward again, under load."""

from __future__ import annotations

import math

import msgspec

from guideway.core.artifact import Digest, short
from guideway.core.errors import GuidewayError, SpecError
from guideway.core.rollout import Phase, Rollout
from guideway.fleet import orders
from guideway.fleet.drills import answers as of
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.load import Load
from guideway.fleet.drills.result import Criterion, Drilled, limit_of, none
from guideway.fleet.drills.site import LOOK, Site
from guideway.kit.process import is_alive
from guideway.store import fleet

SAYS = (
    "give all traffic to the release before, then back to the one that serves now",
    "go there and back once before, should that release no longer be warm, which starts its replicas",
)
LEAD, SETTLE = 2.0, 2.0
"""Seconds of load before the order, and after the last answer of the release that was left."""
KEPT_WARM = 120.0
"""Seconds for which the release that is left stays warm in the middle of a drill, however short `rollout.bake` is."""
SWITCHED_WITHIN = 30.0
"""Seconds within which answers of the release that was left must cease."""


def run(site: Site) -> Drilled:
    """Roll back and forward under load, and leave the release that served at first.

    Raises:
        SpecError: nothing served here before.
    """
    began, at = site.clock(), site.wall()
    here = site.stable.release
    target = orders.before(site.database, site.environment, here)
    if target is None:
        raise SpecError(f"no release served before {short(here)} in '{site.environment}'", try_this="ship a second one")
    try:
        notes = _warmed(site, here, target)
        with site.load() as load:
            site.pause(LEAD)
            back = _moved(site, load, here, target, bake=KEPT_WARM)
            forward = _moved(site, load, target, here) if math.isfinite(back) else back
    finally:
        restore(site, here, target, at)
    limits = limit_of("rollback_seconds", site.clauses), site.spec.rollout.ready_within
    criteria = judged(load.answers, back, forward, limits)
    return Drilled(
        drill="rollback",
        environment=site.environment,
        at=at,
        seconds=site.clock() - began,
        criteria=criteria,
        inputs=(here, target),
        fault=False,
        notes=notes + _reasons(load.answers),
    )


def judged(found: list[Answer], back: float, forward: float, limits: tuple[float, float]) -> tuple[Criterion, ...]:
    """The criteria: *back* and *forward* are seconds from the order to the last answer of the release left."""
    bad, streams = of.failed(found), of.broken(found)
    return (
        Criterion(what="back", metric="rollback_seconds", value=back, unit="s", at_most=limits[0], n=1),
        Criterion(what="forward again", metric="rollforward_seconds", value=forward, unit="s", at_most=limits[1], n=1),
        none("failed requests", "rollback_failed_requests", bad, found),
        none("broken streams", "rollback_broken_streams", streams, [one for one in found if one.streamed], "streams"),
    )


def restore(site: Site, here: Digest, target: Digest, since: float) -> None:
    """Give the traffic back to *here* after orders that moved it to *target* from *since* on, whatever is under way.

    Where somebody else has moved it meanwhile, theirs is the later word.
    """
    fresh = [one for one in fleet.rollouts(site.database, site.environment) if one.created >= since]
    ours = [one for one in fresh if one.kind == "rollback" and one.release in (here, target)]
    for one in ours:
        if not one.phase.final:
            withdraw(site, one)
    if len(ours) < len(fresh):
        site.say("somebody else has moved the traffic meanwhile: it stays as it is")
    elif site.stable.release != here:
        site.say(f"giving the traffic back to {short(here)}")
        _ordered(site, here)


def withdraw(site: Site, rollout: Rollout) -> None:
    """Take a rollout back that the drill asked for and that has not ended."""
    with site.database.transaction():
        now = fleet.rollout(site.database, rollout.id)
        if now and not now.phase.final:
            reason = "the drill that asked for it ended"
            changed = msgspec.structs.replace(now, phase=Phase.FAILED, updated=site.wall(), reason=reason)
            fleet.put_rollout(site.database, changed)


def _warmed(site: Site, here: Digest, target: Digest) -> tuple[str, ...]:
    """Make sure that *target* has ready replicas; what people should know of it."""
    if is_warm(site, target):
        return ()
    said = f"{short(target)} was not warm and was started before the measurement"
    site.say(f"{short(target)} is not warm: starting it, by going there and back once without a measurement")
    site.start_controller(site.home)
    _ordered(site, target, bake=KEPT_WARM)
    _ordered(site, here, bake=KEPT_WARM)
    return (said,)


def is_warm(site: Site, release: Digest) -> bool:
    """Does a replica of *release* stand ready?"""
    return any(
        one.release == release and one.state == "ready" and is_alive(one.process.pid, one.process.started)
        for one in fleet.replicas(site.database, site.environment)
    )


def _moved(site: Site, load: Load, bad: Digest, good: Digest, bake: float = 0.0) -> float:
    """Move the traffic from *bad* to *good*; seconds until no answer named *bad* any more."""
    site.say(f"all traffic from {short(bad)} to {short(good)}")
    order = site.clock()

    def gone() -> float:
        return of.seconds_until_gone(load.since(order), short(bad), order)

    try:
        _ordered(site, good, bake=bake)
    except GuidewayError as error:
        site.say(f"the order failed: {error}")
        return math.inf
    site.until(lambda: math.isfinite(gone()), SWITCHED_WITHIN)
    site.pause(SETTLE)
    return gone()


def _ordered(site: Site, release: Digest, bake: float = 0.0) -> None:
    """Order a rollback to *release* and wait for its end; what it leaves stays warm for *bake* seconds at least."""
    options = msgspec.structs.replace(site.spec.rollout, bake=max(bake, site.spec.rollout.bake))
    spec = msgspec.structs.replace(site.spec, rollout=options)
    rollout = orders.rollback(site.home, site.database, spec, site.environment, clock=site.wall, to=release)
    if not rollout.phase.final:
        site.start_controller(site.home)
    orders.follow(site.database, rollout, pause=lambda _: site.pause(LOOK), changed=lambda _: None)


def _reasons(found: list[Answer]) -> tuple[str, ...]:
    return (of.reasons(found),) if of.failed(found) else ()
