"""Drill: a replica dies (A12). One is killed under load; the others answer, and it is replaced."""

from __future__ import annotations

from guideway.core.launch import Replica
from guideway.fleet.drills import answers as of
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.faults import kill
from guideway.fleet.drills.result import Criterion, Drilled, none
from guideway.fleet.drills.site import Site

SAYS = ("kill -9 one replica of the release that serves",)
LEAD, SETTLE = 2.0, 2.0
"""Seconds of load before the kill, and after the replacement serves."""
READY_WITHIN = 60.0
"""Seconds within which all replicas must be ready before one is killed."""
TOLD_WITHIN = 1.0
"""Seconds within which a client must know that its stream is broken."""
GRACE = 30.0
"""Seconds that are waited beyond the limit, so that what comes too late is measured."""


def run(site: Site) -> Drilled:
    """Kill a replica under load and wait until as many as before are ready again."""
    began, at = site.clock(), site.wall()
    site.start_controller(site.home)
    site.must(lambda: len(site.ready()) >= site.state.replicas, READY_WITHIN, "not all replicas are ready")
    before = site.ready()
    victim = before[0]
    if len(before) == 1:
        site.say("there is one replica only: until it is replaced, requests will fail")
    with site.load() as load:
        site.pause(LEAD)
        site.say(f"kill -9 of replica {victim.id}, process {victim.process.pid}")
        moment = site.clock()
        kill(victim.process)
        limit = site.spec.rollout.ready_within
        recovery = site.until(lambda: replaced(site, victim, len(before)), limit + GRACE)
        site.say(f"{len(before)} replicas are ready again after {recovery:.1f} s")
        site.pause(SETTLE)
    found = load.answers
    return Drilled(
        drill="replica",
        environment=site.environment,
        at=at,
        seconds=site.clock() - began,
        criteria=judged(found, moment, recovery, limit),
        inputs=(site.stable.release,),
        notes=(of.reasons(found),) if of.failed(found) else (),
    )


def replaced(site: Site, victim: Replica, count: int) -> bool:
    """Are *count* replicas without *victim* ready, and does the route lead to all of them?"""
    ready = [one for one in site.ready() if one.id != victim.id]
    routed = {endpoint.port for endpoint in site.stable.endpoints}
    return len(routed & {one.port for one in ready}) >= count


def judged(found: list[Answer], moment: float, recovery: float, limit: float) -> tuple[Criterion, ...]:
    """The criteria: the kill was at *moment*, and as many as before were ready *recovery* seconds later."""
    whole = [one for one in of.failed(found) if not one.broken]
    streams = of.broken(found)
    return (
        none("failed requests", "replica_drill_failed_requests", whole, found),
        Criterion(
            what=f"told within ({len(streams)} streams broke)",
            metric="replica_drill_streams_told_seconds",
            value=of.slowest_told(found, moment),
            unit="s",
            at_most=TOLD_WITHIN,
            n=len(streams),
        ),
        Criterion(
            what="replicas ready again",
            metric="replica_recovery_seconds",
            value=recovery,
            unit="s",
            at_most=limit,
            n=1,
        ),
    )
