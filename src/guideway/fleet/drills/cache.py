"""Drill: the cache is lost (A23). Workers forget what they have, the shared store falls silent; the model answers."""

from __future__ import annotations

import signal

from guideway.core.errors import GuidewayError
from guideway.core.launch import Process
from guideway.core.rollout import EnvironmentState
from guideway.core.route import Route
from guideway.fleet.drills import answers as of
from guideway.fleet.drills import faults
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.result import Criterion, Drilled, none
from guideway.fleet.drills.site import Site
from guideway.fleet.look import gateway_state
from guideway.gateway.cache.address import read_address

SAYS = (
    "replace the gateway's workers one by one, so that they forget every answer that they kept",
    "let a Redis, if there is one, answer nobody for three seconds; a Memcached forget everything",
)
QUESTIONS = 5
"""How many different questions are asked again and again."""
LEAD, SILENT, SETTLE = 4.0, 3.0, 4.0
"""Seconds of load before the fault, of silence of a Redis, and after it."""
COUNTED = 20
"""The last answers before the fault, and at the end, of which hits are counted; as many before them fill the cache."""
ENOUGH_WITHIN = 60.0
"""Seconds within which so many answers must have come."""
REPLACED_WITHIN = 60.0
"""Seconds within which all workers must be replaced."""


def why_not(state: EnvironmentState, route: Route) -> str:
    """Why there is no cache to lose here; empty when there is one."""
    if state.gateway.cache.store == "off":
        return "gateway.cache.store is off"
    if route.stable and not route.stable.terms.cacheable:
        return "the release says policy.cacheable: false"
    return ""


def run(site: Site) -> Drilled:
    """Lose the cache under a load that it answers.

    Raises:
        GuidewayError: no answer came from the cache before, so there is nothing to lose.
    """
    began, at = site.clock(), site.wall()
    with site.load(cached=True, prompts=QUESTIONS) as load:
        site.pause(LEAD)
        site.until(lambda: len(load.answers) >= 2 * COUNTED, ENOUGH_WITHIN)
        before = of.hit_share(load.answers[-COUNTED:])
        if not before:
            raise GuidewayError("no answer came from the cache", where=site.environment, try_this="`--prompt`")
        moment = site.clock()
        seconds = _lose(site)
        site.say(f"the cache is gone after {seconds:.1f} s")
        enough = len(load.answers) + 2 * COUNTED
        site.pause(SETTLE)
        site.until(lambda: len(load.answers) >= enough, ENOUGH_WITHIN)
        after = of.hit_share(load.answers[-COUNTED:])
    found = load.answers
    return Drilled(
        drill="cache",
        environment=site.environment,
        at=at,
        seconds=site.clock() - began,
        criteria=judged(found, moment, seconds, before, after),
        inputs=(site.stable.release,),
        notes=(of.reasons(found),) if of.failed(found) else (),
    )


def judged(found: list[Answer], moment: float, seconds: float, before: float, after: float) -> tuple[Criterion, ...]:
    """The criteria: the cache was lost from *moment* on; *before* and *after* are shares of hits."""
    asked_again = sum(one.good and one.cache == "miss" for one in found if one.began >= moment)
    return (
        none("failed requests", "cache_drill_failed_requests", of.failed(found), found),
        Criterion(
            what="workers replaced",
            metric="cache_drill_seconds",
            value=seconds,
            unit="s",
            at_most=REPLACED_WITHIN,
            n=1,
        ),
        Criterion(
            what="answers that the model gave anew",
            metric="cache_drill_misses",
            value=asked_again,
            unit="requests",
            at_least=1,
            n=len(found),
        ),
        Criterion(
            what=f"hits again (before: {before:.0%})",
            metric="cache_drill_hit_share",
            value=after,
            unit="",
            at_least=before / 2,
            n=len(found),
        ),
    )


def _lose(site: Site) -> float:
    """Silence or empty the shared store, if there is one, and let every worker forget; seconds until all have."""
    store = site.state.gateway.cache.store
    if store != "memory":
        address = read_address(store)
        if address.kind == "memcached":
            site.say(f"emptying {address}")
            faults.emptied(address)
        else:
            site.say(f"{address} answers nobody for {SILENT:g} s")
            faults.pause(address, SILENT)
    return _forgotten(site)


def _forgotten(site: Site) -> float:
    """Have every worker of the gateway replaced; seconds until no old one serves any more."""
    before = gateway_state(site.home, site.environment)
    if before is None:
        raise GuidewayError("the gateway is not here", where=site.environment, try_this="drill on its machine")
    site.say(f"replacing {len(before.workers)} workers of the gateway, process {before.pid}")
    faults.send(Process(before.pid, before.started), signal.SIGHUP)

    def replaced() -> bool:
        now = gateway_state(site.home, site.environment)
        return now is not None and not set(now.workers) & set(before.workers)

    return site.until(replaced, REPLACED_WITHIN)
