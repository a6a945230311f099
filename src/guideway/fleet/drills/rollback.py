"""Drill: the way back. All traffic goes to the release before and forward again, under load."""

from __future__ import annotations

import math
import secrets

import msgspec

from guideway.core.artifact import Digest, short
from guideway.core.errors import GuidewayError, SpecError, Unavailable
from guideway.core.rollout import Phase, Rollout
from guideway.fleet import orders
from guideway.fleet.begin import before
from guideway.fleet.drills import answers as of
from guideway.fleet.drills.answers import Answer
from guideway.fleet.drills.load import Load
from guideway.fleet.drills.result import Criterion, Drilled, limit_of, none
from guideway.fleet.drills.site import LOOK, Site, survey
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


class Moves:
    """The rollouts that a drill on *site* asks for, and those that were there before: any other one is somebody's.

    Raises:
        Unavailable: somebody's has begun already.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        with site.database.transaction():
            survey(site.database, site.environment)
            self.known = {one.id for one in fleet.rollouts(site.database, site.environment, limit=1)}
        self.ours: list[str] = []

    @property
    def foreign(self) -> Rollout | None:
        """The newest rollout, if somebody else began it."""
        newest = next(iter(fleet.rollouts(self.site.database, self.site.environment, limit=1)), None)
        return newest if newest and newest.id not in self.known else None

    def check(self) -> None:
        """Make sure that the service is still ours to drill.

        Raises:
            Unavailable: somebody began a rollout, so that nothing that was measured counts.
        """
        if found := self.foreign:
            raise Unavailable(
                f"the drill was not done: somebody began a {found.kind} to {short(found.release)}, which comes first; "
                "the way back is UNKNOWN, and no evidence is left",
                where=self.site.environment,
                try_this="wait for its end, then drill",
            )

    def move(self, release: Digest, bake: float = 0.0) -> None:
        """Give all traffic to *release* and wait for the end; what it leaves stays warm for *bake* seconds at least.

        Raises:
            Unavailable: somebody began a rollout, over which nothing was put.
            GuidewayError: it failed.
        """
        site, id = self.site, secrets.token_hex(4)
        options = msgspec.structs.replace(site.spec.rollout, bake=max(bake, site.spec.rollout.bake))
        spec = msgspec.structs.replace(site.spec, rollout=options)
        self.known.add(id)  # before it begins: whoever interrupts us leaves an order that is known to be ours
        self.ours.append(id)
        try:
            rollout = orders.rollback(
                site.home, site.database, spec, site.environment, clock=site.wall, to=release, id=id, known=self.known
            )
            if not rollout.phase.final:
                site.start_controller(site.home)
            orders.follow(site.database, rollout, pause=lambda _: site.pause(LOOK), changed=lambda _: None)
        except GuidewayError:
            self.check()
            raise


def run(site: Site) -> Drilled:
    """Roll back and forward under load, and leave the release that served at first.

    Raises:
        SpecError: nothing served here before.
        Unavailable: somebody began a rollout meanwhile.
    """
    began, at = site.clock(), site.wall()
    moves = Moves(site)
    here = site.stable.release
    target = before(site.database, site.environment, here)
    if target is None:
        raise SpecError(f"no release served before {short(here)} in '{site.environment}'", try_this="ship a second one")
    try:
        notes = _warmed(moves, here, target)
        with site.load() as load:
            site.pause(LEAD)
            back = _moved(moves, load, here, target, bake=KEPT_WARM)
            forward = _moved(moves, load, target, here) if math.isfinite(back) else back
    finally:
        restore(moves, here)
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


def restore(moves: Moves, here: Digest) -> None:
    """Give the traffic back to *here* after orders that moved it, whatever is under way.

    Where somebody else has moved it meanwhile, theirs is the later word.
    """
    site = moves.site
    for id in moves.ours:
        withdraw(site, id)
    if moves.foreign:
        site.say(f"somebody else began a rollout meanwhile: all stays as it is, with {short(site.stable.release)}")
    elif site.stable.release != here:
        site.say(f"giving the traffic back to {short(here)}")
        moves.move(here)


def withdraw(site: Site, id: str) -> None:
    """Take a rollout back that the drill asked for, if it has not ended."""
    with site.database.transaction():
        now = fleet.rollout(site.database, id)
        if now and not now.phase.final:
            reason = "the drill that asked for it ended"
            changed = msgspec.structs.replace(now, phase=Phase.FAILED, updated=site.wall(), reason=reason)
            fleet.put_rollout(site.database, changed)


def _warmed(moves: Moves, here: Digest, target: Digest) -> tuple[str, ...]:
    """Make sure that *target* has ready replicas; what people should know of it."""
    site = moves.site
    if is_warm(site, target):
        return ()
    said = f"{short(target)} was not warm and was started before the measurement"
    site.say(f"{short(target)} is not warm: starting it, by going there and back once without a measurement")
    site.start_controller(site.home)
    moves.move(target, bake=KEPT_WARM)
    moves.move(here, bake=KEPT_WARM)
    return (said,)


def is_warm(site: Site, release: Digest) -> bool:
    """Does a replica of *release* stand ready?"""
    return any(
        one.release == release and one.state == "ready" and is_alive(one.process.pid, one.process.started)
        for one in fleet.replicas(site.database, site.environment)
    )


def _moved(moves: Moves, load: Load, bad: Digest, good: Digest, bake: float = 0.0) -> float:
    """Move the traffic from *bad* to *good*; seconds until no answer named *bad* any more."""
    site = moves.site
    site.say(f"all traffic from {short(bad)} to {short(good)}")
    order = site.clock()

    def gone() -> float:
        return of.seconds_until_gone(load.since(order), short(bad), order)

    try:
        moves.move(good, bake=bake)
    except GuidewayError as error:
        moves.check()
        site.say(f"the order failed: {error}")
        return math.inf
    site.until(lambda: math.isfinite(gone()) or moves.foreign, SWITCHED_WITHIN)
    site.pause(SETTLE)
    moves.check()
    return gone()


def _reasons(found: list[Answer]) -> tuple[str, ...]:
    return (of.reasons(found),) if of.failed(found) else ()
