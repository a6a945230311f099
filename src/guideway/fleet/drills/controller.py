"""Drill: the controller dies (A1). Traffic goes on without it; another one adopts what runs."""

from __future__ import annotations

from guideway.core.errors import Unavailable
from guideway.core.launch import Replica
from guideway.fleet.drills import answers as of
from guideway.fleet.drills import faults
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.result import Criterion, Drilled, none
from guideway.fleet.drills.site import Site
from guideway.fleet.look import controller_runs, gateway_state
from guideway.store import fleet

SAYS = ("kill -9 the controller, let the service run without one for some seconds, and start another",)
LEAD, ALONE, SETTLE = 2.0, 3.0, 2.0
"""Seconds of load before the kill, without a controller, and after the next one acts."""
ADOPTED_WITHIN = 30.0
"""Seconds within which the next controller must act."""


def run(site: Site) -> Drilled:
    """Kill the controller under load, start another, and compare what runs.

    Raises:
        Unavailable: the controller does not run on this machine.
    """
    began, at = site.clock(), site.wall()
    site.start_controller(site.home)
    site.must(lambda: controller_runs(site.home), ADOPTED_WITHIN, "no controller took its lock")
    process = faults.controller(site.home)
    if process is None:
        raise Unavailable("the controller does not run on this machine", where=str(site.home.path))
    before = running(site)
    try:
        with site.load() as load:
            site.pause(LEAD)
            site.say(f"kill -9 of the controller, process {process.pid}")
            epoch = fleet.current_epoch(site.database)
            faults.kill(process)
            site.until(lambda: not controller_runs(site.home), ADOPTED_WITHIN)
            site.pause(ALONE)
            site.say("starting another one")
            site.start_controller(site.home)
            seconds = site.until(lambda: _acts(site, epoch), ADOPTED_WITHIN * 2)
            site.pause(SETTLE)
    finally:
        site.start_controller(site.home)
    found = load.answers
    return Drilled(
        drill="controller",
        environment=site.environment,
        at=at,
        seconds=site.clock() - began,
        criteria=judged(found, seconds, changed(before, running(site))),
        inputs=(site.stable.release,),
        notes=(of.reasons(found),) if of.failed(found) else (),
    )


def running(site: Site) -> frozenset[tuple[str, int, str]]:
    """What serves: name, process id and start time of every replica and of the gateway."""
    found = {_known(one) for one in fleet.replicas(site.database, site.environment)}
    gateway = gateway_state(site.home, site.environment)
    return frozenset(found | ({("gateway", gateway.pid, gateway.started)} if gateway else set()))


def changed(before: frozenset[tuple[str, int, str]], after: frozenset[tuple[str, int, str]]) -> int:
    """How many processes came or went."""
    return len(before ^ after)


def judged(found: list[Answer], seconds: float, differences: int) -> tuple[Criterion, ...]:
    """The criteria: another controller acted after *seconds*, and *differences* processes came or went."""
    return (
        none("failed requests", "controller_drill_failed_requests", of.failed(found), found),
        Criterion(
            what="another one acts",
            metric="controller_recovery_seconds",
            value=seconds,
            unit="s",
            at_most=ADOPTED_WITHIN,
            n=1,
        ),
        Criterion(
            what="processes that came or went",
            metric="controller_drill_changed_processes",
            value=differences,
            unit="processes",
            at_most=0,
            n=1,
        ),
    )


def _acts(site: Site, epoch: int) -> bool:
    """Does a controller hold its lock, and an epoch after *epoch*?"""
    return controller_runs(site.home) and fleet.current_epoch(site.database) > epoch


def _known(one: Replica) -> tuple[str, int, str]:
    return one.id, one.process.pid, one.process.started
