"""What must hold whatever happens. Looks at the rows by itself, after every commit, round, file and request."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Route
from guideway.fleet.judge import again
from guideway.gateway.routing import ServingArm
from guideway.rollout.canary import Canary
from simulation.tally import Tally
from simulation.traffic import FOLLOW

if TYPE_CHECKING:
    from simulation.world import Life, World

PATIENCE = 3
"""Rounds that a controller may take for what it should do in one: people may have acted in between."""


class Broken(BaseException):
    """An invariant does not hold. The controller catches every Exception, so this is none."""


class Invariants:
    """All checks of one simulation."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = sqlite3.connect(world.home.path / "state.db", isolation_level=None)
        self.tally = Tally(self)
        self.rollouts: dict[str, Rollout] = {}
        self.route: Route | None = None
        self.routes: dict[tuple[int, int], Route] = {}
        self.file: Route | None = None
        self.ended: dict[str, float] = {}
        self._lines = 0
        self._late: Counter[str] = Counter()
        self._raised: dict[str, float] = {}
        self._promoted: set[str] = set()
        self._baked: set[str] = set()
        self._done: dict[str, float] = {}

    def require(self, holds: Any, what: str) -> None:
        """Raises: Broken: it does not hold."""
        if not holds:
            raise Broken(f"seed {self.world.seed}, at {self.world.time.now:.3f} s: {what}")

    # -- rows ----------------------------------------------------------------------------------------------------

    def committed(self) -> None:
        """Called after every transaction of anybody."""
        before, self.rollouts = self.rollouts, self.read_rollouts()
        self._final_phases_are_never_left(before)
        self._one_rollout_runs_at_most()
        self._the_ledger_proves_what_moved()
        body = self._one("SELECT body FROM routes")
        route = msgspec.json.decode(body, type=Route) if body else None
        if route is not None and route != self.route:
            self._routes_only_grow(route)
            self._all_traffic_is_deserved(route)
            self._candidates_are_asked_for(route)
            self.world.tell("route", told(route))
            self.route, self.routes[route.epoch, route.revision] = route, route
        self._no_candidate_of_a_rollout_that_is_over()
        self._some_have_baked()
        self.tally.look()

    def _final_phases_are_never_left(self, before: dict[str, Rollout]) -> None:
        for id, rollout in before.items():
            now = self.rollouts.get(id)
            self.require(now, f"rollout {id} is gone")
            left = rollout.phase.final and now.phase is not rollout.phase
            self.require(not left, f"rollout {id} was {rollout.phase} and is {now.phase}")
        for id, rollout in self.rollouts.items():
            if id not in before or before[id].phase is not rollout.phase:
                self.world.tell("rollout", f"{id} of {rollout.release[7:9]} {rollout.phase} {rollout.reason}")

    def _one_rollout_runs_at_most(self) -> None:
        running = [one.id for one in self.rollouts.values() if not one.phase.final]
        self.require(len(running) <= 1, f"several rollouts run at once: {running}")

    def _routes_only_grow(self, route: Route) -> None:
        old, epoch = self.route, int(self._one("SELECT value FROM meta WHERE key = 'epoch'"))
        grows = old is None or (route.epoch, route.revision) > (old.epoch, old.revision)
        self.require(grows, f"the route went back: {told(route)} after {told(old) if old else ''}")
        self.require(route.epoch == epoch, f"the route has epoch {route.epoch} while {epoch} acts")

    def _all_traffic_is_deserved(self, route: Route) -> None:
        release = route.stable.release if route.stable else ""
        if self.route and self.route.stable and self.route.stable.release == release:
            return
        asked = [one for one in self.rollouts.values() if one.release == release and not self._is_undone(one)]
        self.require(asked, f"all traffic went to {release[7:9]}, for which no rollout asks")
        deserved = any(
            one.kind == "rollback" or one.strategy == "all-at-once" or one.promoted_by or one.id in self._promoted
            for one in asked
        )
        self.require(deserved, f"all traffic went to {release[7:9]} without proof and without a person")

    def _is_undone(self, rollout: Rollout) -> bool:
        return rollout.phase not in (Phase.SWITCHING, Phase.DONE)

    def _candidates_are_asked_for(self, route: Route) -> None:
        if route.candidate is None:
            return
        rollout = self.rollouts.get(route.rollout)
        right = rollout and rollout.phase.beside and rollout.release == route.candidate.release
        self.require(right, f"the candidate on the route is of no rollout that runs: {told(route)}")
        known = self.canary(route.rollout)
        weight = rollout.asked.steps[known.step].weight if known and rollout.phase is Phase.CANARY else route.weight
        self.require(route.weight == weight, f"the route says {route.weight}, the canary is at {weight}")

    def _no_candidate_of_a_rollout_that_is_over(self) -> None:
        rollout = self.rollouts.get(self.route.rollout) if self.route and self.route.candidate else None
        over = rollout and rollout.phase in (Phase.FAILED, Phase.DONE)
        self.require(not over, f"rollout {rollout and rollout.id} is over, and its candidate is on the route")

    def _the_ledger_proves_what_moved(self) -> None:
        query = "SELECT seq, what, data FROM ledger WHERE seq > ? ORDER BY seq"
        for seq, what, data in self.rows.execute(query, (self._lines,)).fetchall():
            self._lines = seq
            line = msgspec.json.decode(data)
            if what.startswith("canary ") and "situation" in line:
                self._decision(what.removeprefix("canary "), line)

    def _decision(self, kind: str, line: dict[str, Any]) -> None:
        said, found = again(line)
        id, situation = line["rollout"], line["situation"]
        self.require(said == found, f"the ledger says {said}, its numbers say {found}")
        self.world.tell("canary", f"{id} {kind}: {said.reason}")
        if kind == "promote" and not situation["promoted_by"]:
            self._promoted.add(id)
        if kind in ("raise", "promote") and not situation["promoted_by"]:
            self._old_news_raise_nothing(id, situation)
            self._raised[id] = self.world.time.now

    def _old_news_raise_nothing(self, id: str, situation: dict[str, Any]) -> None:
        plan, now = situation["plan"], self.world.time.now
        if situation["step"] < 0:
            return
        newest = self.tally.newest.get(id)
        silent = now - newest if newest is not None else float("inf")
        fresh = plan["fresh_within"]
        self.require(silent <= fresh + 1.0, f"{id}: a weight rose {silent:.1f} s after the last unit, {fresh} s count")
        held = now - self._raised[id]
        shortest = plan["steps"][situation["step"]]["shortest"]
        self.require(held >= shortest - 1e-6, f"{id}: a weight rose after {held:.3f} of {shortest} s")

    # -- files and workers ---------------------------------------------------------------------------------------

    def projected(self, route: Route) -> None:
        """Called when the route file has changed."""
        row = self.routes.get((route.epoch, route.revision))
        self.require(row == route, f"the file says what no row ever said: {told(route)}")
        old = self.file
        back = old and (old.epoch, old.revision) > (route.epoch, route.revision)
        self.require(not back, f"the file went back: {told(route)} after {told(old) if old else ''}")
        if old and old.candidate and route.rollout != old.rollout:
            self.ended[old.rollout] = self.world.time.now
        self.file = route

    def followed(self, worker: str, route: Route) -> None:
        """Called when a worker follows another route."""
        self.require(route == self.file, f"{worker} follows another route than the file has")

    def asked(self, at: float, worker: str, route: Route, arm: ServingArm | None) -> None:
        """Called for every request, before it is sent."""
        if arm is None or arm.name != "candidate":
            return
        ended = self.ended.get(route.rollout)
        late = ended is not None and at > ended + FOLLOW + 1e-6
        self.require(not late, f"{worker} sent a request to a candidate that is off the route since {ended}")

    def failed(self, failure: str, outcome: Any) -> None:
        """Called for every request that a user lost for want of a replica."""
        story = self.world.story
        dying = "dying" in (story.character, story.other)
        gentle = story.temper != "rough" and not dying
        self.require(not gentle, f"a user's request failed ({failure}), though no process died: {outcome}")

    # -- processes -----------------------------------------------------------------------------------------------

    def starting_gateway(self) -> None:
        """Called before a gateway is started."""
        self.require(self.world.machine.gateway is None, "a second gateway is started beside the first")

    def stopping(self, state: EnvironmentState, replica: Replica) -> None:
        """Called before a replica is stopped."""
        self._nobody_is_sent_there(replica)
        up = self._one("SELECT json_extract(body, '$.up') FROM environments")
        route = self.route
        if not up or route is None or route.stable is None or replica.state == "starting":
            return
        if self.world.machine.on(replica.port) is None:
            return
        if replica.release == route.stable.release:
            self._enough_stay(replica)
        self._the_one_before_stays_warm(replica, route.stable.release)

    def _nobody_is_sent_there(self, replica: Replica) -> None:
        for worker in self.world.users.workers:
            ports = [one.port for one in worker.table.backends()] if worker.alive and worker.table else []
            there = replica.port in ports and self.world.machine.on(replica.port)
            self.require(not there, f"{replica.id} is stopped while {worker.name} sends requests there")

    def _enough_stay(self, replica: Replica) -> None:
        rows = self.read_replicas()
        others = [
            one for one in rows if one.release == replica.release and one.state == "ready" and one.id != replica.id
        ]
        stay = sum(self.world.machine.on(one.port) is not None for one in others)
        wanted = self.world.story.replicas
        self.require(stay >= wanted, f"{replica.id} of the stable release is stopped, {stay} of {wanted} stay")

    def _the_one_before_stays_warm(self, replica: Replica, stable: str) -> None:
        done = [one for one in self.tally.begun(self.rollouts) if one.phase is Phase.DONE]
        running = [one for one in self.rollouts.values() if not one.phase.final]
        if not done or any(one.release == replica.release for one in running):
            return
        last = done[-1]
        bakes = last.release == stable and last.previous == replica.release and replica.release != stable
        self._some_have_baked()
        self.require(
            not bakes or last.id in self._baked, f"{replica.id} of the release before is stopped while {last.id} bakes"
        )

    def _some_have_baked(self) -> None:
        """Once baked, always baked: a controller that dies later does not bring back what was let go."""
        now = self.world.time.now
        done = [one for one in self.rollouts.values() if one.phase is Phase.DONE]
        for one in done:
            self._done.setdefault(one.id, now)
        lives = [life for life in self.world.lives if hasattr(life, "controller")]
        self._baked.update(
            one.id for one in done if any(self._baked_for(one, life) >= one.bake - 1e-6 for life in lives)
        )

    def _baked_for(self, done: Rollout, life: Life) -> float:
        """Seconds that *life* may count: those it was there, and before that what the clock said when it began."""
        before = max(0.0, life.wall - done.updated) if life.at >= self._done[done.id] else 0.0
        return before + self.world.time.now - max(life.at, self._done[done.id])

    # -- rounds --------------------------------------------------------------------------------------------------

    def after_round(self, life: Life) -> None:
        """Called after every round of a controller."""
        complaints = life.controller._complaints
        for text in complaints.values():
            self.require(not text.startswith("Traceback"), f"the controller stumbles: {text}")
        if complaints or life.interrupted:
            life.interrupted = False
            return
        self._within_rounds("the file does not follow the row", self.file == self.route)
        self._within_rounds("there is no route to a stable release that has replicas", not self._in_limbo())
        rollout = self.rollouts.get(self.route.rollout) if self.route and self.route.candidate else None
        self._within_rounds("a candidate outlives its rollout on the route", not (rollout and rollout.phase.final))

    def _within_rounds(self, what: str, holds: bool) -> None:
        self._late[what] = 0 if holds else self._late[what] + 1
        self.require(self._late[what] < PATIENCE, what)

    def _in_limbo(self) -> bool:
        """Has the stable release ready replicas, and no route to any?"""
        up = self._one("SELECT json_extract(body, '$.up') FROM environments")
        if not up or self.route is None or self.route.stable is None or self.route.stable.endpoints:
            return False
        ready = [one for one in self.read_replicas() if one.state == "ready"]
        there = [one for one in ready if one.release == self.route.stable.release and self.world.machine.on(one.port)]
        return bool(there)

    # -- reading -------------------------------------------------------------------------------------------------

    def read_rollouts(self) -> dict[str, Rollout]:
        found = self.rows.execute("SELECT body FROM rollouts").fetchall()
        return {one.id: one for one in (msgspec.json.decode(body, type=Rollout) for (body,) in found)}

    def read_replicas(self) -> list[Replica]:
        found = self.rows.execute("SELECT body FROM replicas").fetchall()
        return [msgspec.json.decode(body, type=Replica) for (body,) in found]

    def canary(self, rollout: str) -> Canary | None:
        body = self.canary_body(rollout)
        return msgspec.msgpack.decode(body, type=Canary) if body else None

    def canary_body(self, rollout: str) -> bytes | None:
        return self._one("SELECT body FROM canaries WHERE rollout = ?", rollout)

    def _one(self, query: str, *values: Any) -> Any:
        row = self.rows.execute(query, values).fetchone()
        return row[0] if row else None


def told(route: Route) -> str:
    """A route in few words."""
    arms = [f"{arm.release[7:9]} on {len(arm.endpoints)}" for arm in (route.stable, route.candidate) if arm]
    return f"{route.epoch}.{route.revision}: {' and '.join(arms)} at {route.weight:g} {route.rollout}"
