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
from guideway.fleet.drills.result import Criterion, Drilled, limit_of
from guideway.fleet.drills.site import Site
from guideway.kit.process import is_alive
from guideway.store import fleet

SAYS = (
    "give all traffic to the release before, then back to the one that serves now",
    "go there and back once before, should that release no longer be warm, which starts its replicas",
)
LEAD, SETTLE = 2.0, 2.0
"""Seconds of load before the order, and after the last answer of the release that was left."""
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
            notes += _started(site, target)
            back = _moved(site, load, here, target)
            forward = _moved(site, load, target, here) if math.isfinite(back) else back
            site.pause(SETTLE)
    finally:
        restore(site, here)
    criteria = judged(load.answers, back, forward, limit_of("rollback_seconds", site.clauses))
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


def judged(found: list[Answer], back: float, forward: float, limit: float) -> tuple[Criterion, ...]:
    """The criteria: *back* and *forward* are seconds from the order to the last answer of the release left."""
    bad, streams = of.failed(found), of.broken(found)
    return (
        Criterion(what="back", metric="rollback_seconds", value=back, unit="s", at_most=limit, n=1),
        Criterion(what="forward again", metric="rollforward_seconds", value=forward, unit="s", at_most=limit, n=1),
        Criterion(
            what="failed requests",
            metric="rollback_failed_requests",
            value=len(bad),
            unit="requests",
            at_most=0,
            n=len(found),
        ),
        Criterion(
            what="broken streams",
            metric="rollback_broken_streams",
            value=len(streams),
            unit="streams",
            at_most=0,
            n=sum(one.streamed for one in found),
        ),
    )


def restore(site: Site, release: Digest) -> None:
    """Give the traffic back to *release*, whatever is under way."""
    for running in fleet.rollouts(site.database, site.environment, running=True):
        withdraw(site, running)
    if site.stable.release != release:
        site.say(f"giving the traffic back to {short(release)}")
        _ordered(site, release)


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
    _ordered(site, target)
    _ordered(site, here)
    return (said,)


def _started(site: Site, target: Digest) -> tuple[str, ...]:
    """What people should know when *target* has cooled down again before the order."""
    cold = f"{short(target)} was not warm when the order came (rollout.bake): the seconds hold its start"
    return () if is_warm(site, target) else (cold,)


def is_warm(site: Site, release: Digest) -> bool:
    """Does a replica of *release* stand ready?"""
    return any(
        one.release == release and one.state == "ready" and is_alive(one.process.pid, one.process.started)
        for one in fleet.replicas(site.database, site.environment)
    )


def _moved(site: Site, load: Load, bad: Digest, good: Digest) -> float:
    """Move the traffic from *bad* to *good*; seconds until no answer named *bad* any more."""
    site.say(f"all traffic from {short(bad)} to {short(good)}")
    order = site.clock()

    def gone() -> float:
        return of.seconds_until_gone(load.since(order), short(bad), order)

    try:
        _ordered(site, good)
    except GuidewayError as error:
        site.say(f"the order failed: {error}")
        return math.inf
    site.until(lambda: math.isfinite(gone()), SWITCHED_WITHIN)
    site.pause(SETTLE)
    return gone()


def _ordered(site: Site, release: Digest) -> None:
    """Order a rollback to *release* and wait until it is done."""
    rollout = orders.rollback(site.home, site.database, site.spec, site.environment, clock=site.wall, to=release)
    if not rollout.phase.final:
        site.start_controller(site.home)
    orders.follow(site.database, rollout, pause=lambda: site.pause(0.02), changed=lambda _: None)


def _reasons(found: list[Answer]) -> tuple[str, ...]:
    return (of.reasons(found),) if of.failed(found) else ()
