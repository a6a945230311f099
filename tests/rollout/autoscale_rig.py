"""A service that is replayed from a trace: replicas with places, one queue before them, starts that take a while.

Continuous batching is approximated: a replica works on as many requests at once as it has places, and each takes as
long as its tokens do, however full the replica is. A replica costs from the order until it is gone: while it starts,
and while it finishes what it has.
"""

from __future__ import annotations

import csv
import heapq
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from guideway.rollout.autoscale import Rules, State, decide
from guideway.rollout.load import Reading


class Job(NamedTuple):
    """A request: when it comes, and how long a replica works on it; seconds."""

    at: float
    takes: float


class Service(NamedTuple):
    """What is served with: places per replica, seconds of a cold start, seconds per token in and out."""

    places: int = 8
    cold_start: float = 60.0
    token_in: float = 0.00025
    token_out: float = 0.04


class Order(NamedTuple):
    """So many replicas from this time on."""

    at: float
    replicas: int


class Outcome(NamedTuple):
    """What became of a replay: the wait of each request, replica-seconds, and the orders that changed something."""

    waits: list[float]
    capacity: float
    orders: list[Order]

    def within(self, objective: float) -> float:
        """The share of requests that waited no longer than *objective* seconds."""
        return sum(wait <= objective for wait in self.waits) / len(self.waits)


class Scaler(Protocol):
    """Whoever decides: told a reading every tick, it answers how many replicas there should be."""

    def __call__(self, reading: Reading, /) -> int:
        """How many from now on."""


def read_trace(path: Path, service: Service) -> list[Job]:
    """The requests of a file of the Azure LLM inference trace of 2023, from second 0."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (
                datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp(),
                int(row["ContextTokens"]) * service.token_in + int(row["GeneratedTokens"]) * service.token_out,
            )
            for row in csv.DictReader(file)
        ]
    first = rows[0][0]
    return [Job(at - first, takes) for at, takes in rows]


class _Replica:
    __slots__ = ("draining", "from_", "ready", "running")

    def __init__(self, ordered: float, ready: float) -> None:
        self.from_, self.ready = ordered, ready
        self.running = 0
        self.draining = False


class Replay:
    """One run of *jobs* through a service that *scaler* sizes, beginning with *first* replicas that are warm."""

    def __init__(self, jobs: Sequence[Job], service: Service, scaler: Scaler, first: int, tick: float = 5.0) -> None:
        self._jobs, self._service, self._scaler, self._tick = jobs, service, scaler, tick
        self._replicas = [_Replica(0.0, 0.0) for _ in range(first)]
        self._queue: deque[int] = deque()
        self._ends: list[tuple[float, int, _Replica]] = []
        self._starts: list[float] = []
        self._waits = [float("inf")] * len(jobs)
        self._recent: list[float] = []
        self._finished = 0
        self._spent = 0.0
        self._orders = [Order(0.0, first)]

    def run(self, until: float | None = None) -> Outcome:
        """Replay all; capacity is counted until *until*, by default the last arrival."""
        over = until if until is not None else self._jobs[-1].at
        arrivals, next_tick, index = self._jobs, 0.0, 0
        while True:
            times = [next_tick if next_tick <= over else float("inf")]
            if index < len(arrivals):
                times.append(arrivals[index].at)
            if self._ends:
                times.append(self._ends[0][0])
            if self._starts:
                times.append(self._starts[0])
            now = min(times)
            if now == float("inf"):
                break
            if self._ends and self._ends[0][0] <= now:
                self._end(now, over)
            elif self._starts and self._starts[0] <= now:
                heapq.heappop(self._starts)
                self._fill(now)
            elif index < len(arrivals) and arrivals[index].at <= now:
                self._queue.append(index)
                index += 1
                self._fill(now)
            else:
                self._ask(now, over)
                next_tick += self._tick
        spent = self._spent + sum(max(0.0, over - one.from_) for one in self._replicas)
        return Outcome(self._waits, spent, self._orders)

    def _end(self, now: float, over: float) -> None:
        _, _, replica = heapq.heappop(self._ends)
        replica.running -= 1
        self._finished += 1
        if replica.draining and not replica.running:
            self._remove(replica, min(now, over))
        self._fill(now)

    def _remove(self, replica: _Replica, now: float) -> None:
        self._replicas.remove(replica)
        self._spent += max(0.0, now - replica.from_)

    def _fill(self, now: float) -> None:
        """Those who wait get places, in their order, each at the replica that has the least to do."""
        while self._queue:
            free = [
                one
                for one in self._replicas
                if one.ready <= now and not one.draining and one.running < self._service.places
            ]
            if not free:
                return
            replica = min(free, key=lambda one: one.running)
            index = self._queue.popleft()
            replica.running += 1
            self._waits[index] = now - self._jobs[index].at
            self._recent.append(self._waits[index])
            heapq.heappush(self._ends, (now + self._jobs[index].takes, index, replica))

    def _ask(self, now: float, over: float) -> None:
        serving = [one for one in self._replicas if not one.draining]
        reading = Reading(
            at=now,
            in_flight=sum(one.running for one in self._replicas),
            queued=len(self._queue),
            finished=self._finished,
            waited=None,
            ready=sum(one.ready <= now for one in serving),
            cold_start=self._service.cold_start,
        )
        self._recent.clear()
        wanted = self._scaler(reading)
        if wanted != self._orders[-1].replicas:
            self._orders.append(Order(now, wanted))
        for _ in range(wanted - len(serving)):
            self._replicas.append(_Replica(now, now + self._service.cold_start))
            heapq.heappush(self._starts, now + self._service.cold_start)
        for replica in sorted(serving, key=lambda one: (one.ready <= now, one.running))[
            : max(0, len(serving) - wanted)
        ]:
            replica.draining = True
            if not replica.running:
                self._remove(replica, min(now, over))


def planned(orders: Sequence[Order]) -> Callable[[Reading], int]:
    """A scaler that follows *orders*, whatever it is told; the first holds from the beginning."""

    def follow(reading: Reading) -> int:
        return [one.replicas for one in orders if one.at <= reading.at or one is orders[0]][-1]

    return follow


def ours(rules: Rules, *, first: int) -> Scaler:
    """Our own decisions under *rules*, with the state that they ask to be kept."""
    state = State(first)

    def decided(reading: Reading) -> int:
        nonlocal state
        state = decide(state, reading, rules).state
        return state.wanted

    return decided
