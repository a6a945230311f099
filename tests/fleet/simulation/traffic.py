"""Users and the workers that serve them: drawn by the route as each worker follows it, told of in real spools."""

from __future__ import annotations

import heapq
import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from guideway.core.assignment import Assignment, caller_key
from guideway.core.outcome import Outcome
from guideway.core.route import Endpoint, Route
from guideway.gateway.outcomes import Spool
from guideway.gateway.routing import ServingArm, Table, compile_route, read_route, replaces
from guideway.kit.frames import frame
from guideway.store.outcomes import MAGIC

if TYPE_CHECKING:
    from simulation.machine import Running
    from simulation.world import World

TICK = 0.2
FOLLOW = 0.1
"""Seconds after which every worker has seen a new route file."""
PEPPER = b"pepper"


class Backend:
    """A replica, as a worker knows it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.port = endpoint.port
        self.peers: tuple[Backend, ...] = ()


class Whole(NamedTuple):
    """A record that was written whole, and where its frame ends in its segment."""

    end: int
    outcome: Outcome


class Worker:
    """One worker of the gateway. ``written`` is what lies in its segments, by their names."""

    def __init__(self, world: World, name: str, written: dict[str, list[Whole]]) -> None:
        self.world, self.name, self._written = world, name, written
        self.table: Table | None = None
        self.open = self.alive = True
        self._spool = Spool(world.outcomes, name, clock=world.time.steady)
        self._waiting: list[Outcome] = []

    def follow(self) -> None:
        """Read the route file, as `guideway.gateway.plane` does."""
        if not self.alive:
            return
        try:
            route = read_route(self.world.route_file.read_bytes())
        except FileNotFoundError:
            return
        if replaces(route, self.table.route if self.table else None):
            self.table = compile_route(route, Backend)
            self.world.invariants.followed(self.name, route)

    def add(self, outcome: Outcome) -> None:
        self._spool.add(outcome)
        self._waiting.append(outcome)

    def tick(self, now: float) -> None:
        """Write what is there, and note what of it is whole, and where."""
        if not self._waiting:
            return
        segment, before = self._spool._segment, self._spool.dropped
        number = segment._number
        size = segment._size if segment._handle >= 0 else 0
        self._spool.tick()
        some, self._waiting = self._waiting, []
        if self._spool.dropped > before:
            return
        if segment._number != number:
            size = len(MAGIC)
        whole = self._written.setdefault(f"{self.name}-{segment._number:06d}.msgpack", [])
        for one in some:
            size += len(frame(msgspec.msgpack.encode(one)))
            whole.append(Whole(size, one))
            if one.rollout and not one.why_not:
                self.world.invariants.tally.newest[one.rollout] = now
        assert size == segment._size

    def die(self, torn: bool) -> None:
        """It is killed: what it had not written is lost, and perhaps the last record is torn."""
        self.alive = self.open = False
        segment = self._spool._segment
        if torn and self._waiting and segment._handle >= 0:
            data = frame(msgspec.msgpack.encode(self._waiting[0]))
            os.write(segment._handle, data[: len(data) // 2])
        segment.close()

    def end(self) -> None:
        """It ends by itself."""
        self.tick(self.world.time.now)
        self.alive = self.open = False
        self._spool._segment.close()


class Flight(NamedTuple):
    """A request that is under way: who answers it, and the record that will be left."""

    worker: Worker
    replica: Running | None
    outcome: Outcome
    backends: tuple[Backend, ...]


class Users:
    """Requests as a Poisson process of *rate* a second; ``many`` callers, or nobody who is known by name."""

    def __init__(self, world: World) -> None:
        self.world, self.dice = world, world.dice("users")
        self.rate = world.story.rate
        self.quiet_until = 0.0
        self.workers: list[Worker] = []
        self.written: dict[str, list[Whole]] = {}
        self.served: dict[str, int] = {}
        self.asked = self.unreachable = self.failed = 0
        self._next = 0.0
        self._ticked = 0.0
        self._flights: list[tuple[float, int, Flight]] = []
        self._numbers, self._names = itertools.count(), itertools.count(1)

    # -- workers -------------------------------------------------------------------------------------------------

    def open(self, count: int) -> None:
        """The gateway is up with *count* workers."""
        for _ in range(count):
            one = Worker(self.world, f"w{next(self._names)}", self.written)
            self.workers.append(one)
            one.follow()

    def close(self) -> None:
        """The gateway lets nobody in any more."""
        for one in self.workers:
            one.open = False

    def leave(self) -> None:
        """The gateway has drained."""
        for one in self.workers:
            one.end()
        self.workers = []

    def kill_workers(self) -> None:
        for one in self.workers:
            one.die(torn=self.dice.random() < 0.5)
        self.workers = []

    def kill_worker(self) -> None:
        """One worker is killed; the parent starts another one."""
        gateway = self.world.machine.gateway
        if self.workers and gateway and not gateway.leaving:
            one = self.workers.pop(0)
            one.die(torn=True)
            self.world.tell("worker", f"{one.name} dies")
            self.world.time.after(0.3, lambda: self.open(1) if self.world.machine.gateway is gateway else None)

    def file_changed(self) -> None:
        """Every worker sees it a moment later."""
        for one in self.workers:
            self.world.time.after(self.dice.uniform(0.005, FOLLOW), one.follow)

    # -- requests ------------------------------------------------------------------------------------------------

    def until(self, now: float) -> None:
        """All that users do, and all answers that they get, until *now*."""
        while True:
            ends = self._flights[0][0] if self._flights else float("inf")
            self._tick(min(ends, self._next, now))
            if min(ends, self._next) > now:
                break
            if ends <= self._next:
                at, _, flight = heapq.heappop(self._flights)
                self._land(at, flight)
            else:
                self._ask(self._next)
                self._next += self.dice.expovariate(self.rate)

    def _tick(self, now: float) -> None:
        if now >= self._ticked + TICK:
            self._ticked = now
            for one in self.workers:
                one.tick(now)

    def wait_for(self, replica: Running) -> bool:
        """Is an answer of *replica* still to come?"""
        return any(flight.replica is replica for _, _, flight in self._flights)

    def _ask(self, at: float) -> None:
        if at < self.quiet_until:
            return
        doors = [one for one in self.workers if one.open]
        if not doors or not (table := (worker := self.dice.choice(doors)).table):
            self.unreachable += 1
            return
        self.asked += 1
        caller = self.dice.randrange(self.world.story.callers) if self.world.story.callers else None
        key = caller_key(PEPPER, "", f"user {caller}") if caller is not None else ""
        why_not = "seen before" if self.dice.random() < 0.1 else ""
        drawn, arm = table.assign(key=key, uniform=self.dice.random(), why_not=why_not)
        self._take_off(at, worker, table.route, drawn, arm, key)
        if table.shadowed and self.dice.random() < table.shadowed:
            copy = Assignment("candidate", table.route.weight, why_not="shadow")
            self._take_off(at, worker, table.route, copy, table.candidate, "")

    def _take_off(
        self, at: float, worker: Worker, route: Route, drawn: Assignment, arm: ServingArm | None, key: str
    ) -> None:
        request, seen = f"q{self.asked:07d}", drawn.why_not
        outcome = Outcome(
            at=at + self.world.time.wall() - self.world.time.now, environment=self.world.name, rollout=route.rollout,
            arm=drawn.arm, share=drawn.share, request=request, unit=drawn.key, caller=key, why_not=seen,
            release=arm.release if arm else "", input_tokens=30,
        )  # fmt: skip
        self.world.invariants.asked(at, worker.name, route, arm)
        if arm is None or not arm.backends:
            self._fail(outcome, worker, "no replica", 503, rescued=False)
            return
        chosen = self.dice.choice(arm.backends)
        replica = self.world.machine.on(chosen.port)
        if replica is None or not replica.alive:
            others = [one for one in arm.backends if self.world.machine.on(one.port)]
            self._fail(outcome, worker, "connect", 502, rescued=bool(others))
            return
        character = self.world.characters[replica.release]
        self.served[replica.release] = self.served.get(replica.release, 0) + 1
        latency = 0.1 * self.dice.lognormvariate(0.0, 0.6) * character.slower
        flight = Flight(worker, replica, outcome, arm.backends)
        heapq.heappush(self._flights, (at + latency, next(self._numbers), flight))

    def _fail(self, outcome: Outcome, worker: Worker, failure: str, status: int, *, rescued: bool) -> None:
        """The first attempt came to nothing; another replica may have rescued the request."""
        if not rescued and outcome.why_not != "shadow":
            self.failed += 1
            self.world.invariants.failed(failure, outcome)
        shown = 200 if rescued else status
        worker.add(msgspec.structs.replace(outcome, failure=failure, status=shown, retried=rescued, latency=5.0))

    def _land(self, at: float, flight: Flight) -> None:
        if not flight.worker.alive:
            return
        replica, outcome = flight.replica, flight.outcome
        if not replica.alive:
            others = [one for one in flight.backends if self.world.machine.on(one.port)]
            self._fail(outcome, flight.worker, "broken", 502, rescued=bool(others))
            return
        character, dice = self.world.characters[replica.release], self.dice.random()
        milliseconds = (at - (outcome.at - self.world.time.wall() + self.world.time.now)) * 1000.0
        what = {"failure": "", "status": 200}
        if dice < character.errors:
            what = {"failure": "status", "status": 500}
        elif dice < character.errors + character.garbage:
            what = {"failure": "garbage", "status": 502}
        status = 200 if what["failure"] == "garbage" else what["status"]
        more = {"first_status": status, "latency": max(0.1, milliseconds), "output_tokens": 10, "finish_reason": "stop"}
        if outcome.why_not == "shadow":
            more["same"] = dice < 0.9
        flight.worker.add(msgspec.structs.replace(outcome, **what, **more))
