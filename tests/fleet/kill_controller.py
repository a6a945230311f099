"""``python kill_controller.py HOME``: the controller as it runs, but that it may be killed at a named point.

``HOME/fate.json`` names the point and the rollout; without it nothing happens. ``HOME/shares.json`` says what share
of the answers of a release is a 500. When it is asked to end, it leaves what its looks cost in ``looks.json``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
from kill_counts import witness

from guideway.core.launch import Launch, Probe
from guideway.core.rollout import Phase
from guideway.core.route import Route
from guideway.fleet import __main__ as program
from guideway.fleet import project, service
from guideway.fleet.controller import Controller
from guideway.fleet.host import Host
from guideway.kit.process import free_port
from guideway.rollout.canary import Canary
from guideway.store import canaries, fleet
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.targets.local import LocalTarget

FIRST, SECOND = 0.2, 0.5
"""The weights of the two steps."""
REPLICA = Path(__file__).with_name("kill_replica.py")
PROBE = Probe("/v1/chat/completions", '{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}')

Moment = Literal["uncommitted", "committed", "projected", "started", "ended"]
"""Before a transaction is committed, after it, after the route's file is written; a process was started, or ended."""


class Fate(msgspec.Struct, frozen=True):
    """Who is killed when: the name of the point, the rollout and its two releases."""

    point: str
    rollout: str
    new: str
    old: str


class Seen:
    """The rows as they are now, those of a transaction that is not committed yet too; and the route's file."""

    def __init__(self, home: Home, database: Database, fate: Fate) -> None:
        self.home, self.database, self.fate = home, database, fate

    @cached_property
    def phase(self) -> Phase | None:
        found = fleet.rollout(self.database, self.fate.rollout)
        return found.phase if found else None

    @cached_property
    def route(self) -> Route | None:
        return fleet.route(self.database, "dev")

    @cached_property
    def file(self) -> Route:
        return msgspec.json.decode((self.home.environment("dev") / "route.json").read_bytes(), type=Route)

    def states(self, release: str) -> set[str]:
        return {one.state for one in fleet.replicas(self.database) if one.release == release}

    @property
    def units(self) -> int:
        known = canaries.canary(self.database, self.fate.rollout, Canary)
        return sum(map(sum, known.scores.units.values())) if known else 0


class Point(NamedTuple):
    """A point on the way of a rollout, reached at some *moment*; on the way of a ``bad`` candidate, or a good one."""

    name: str
    moment: Moment
    reached: Callable[[Seen], bool] = lambda seen: True
    release: Literal["", "new", "old"] = ""
    bad: bool = False


def _weight(weight: float) -> Callable[[Seen], bool]:
    return lambda seen: bool(seen.route and seen.route.weight == weight)


POINTS = (
    Point("begun", "committed", lambda seen: seen.phase is Phase.STARTING),
    Point("a replica started, not noted", "started", release="new"),
    Point("a replica noted", "committed", lambda seen: "starting" in seen.states(seen.fate.new)),
    Point("a replica ready", "committed", lambda seen: "ready" in seen.states(seen.fate.new)),
    Point("the canary begun", "committed", lambda seen: seen.phase is Phase.CANARY),
    Point("the first raise not committed", "uncommitted", _weight(FIRST)),
    Point("the first raise committed", "committed", _weight(FIRST)),
    Point("the first raise projected", "projected", lambda seen: seen.file.weight == FIRST),
    Point("outcomes counted, not committed", "uncommitted", lambda seen: seen.units > 0),
    Point("outcomes counted", "committed", lambda seen: seen.units > 0),
    Point("the second raise committed", "committed", _weight(SECOND)),
    Point("the second raise projected", "projected", lambda seen: seen.file.weight == SECOND),
    Point("the promotion committed", "committed", lambda seen: seen.phase is Phase.SWITCHING),
    Point("the switch committed", "committed", lambda seen: seen.route.stable.release == seen.fate.new),
    Point("the switch projected", "projected", lambda seen: seen.file.stable.release == seen.fate.new),
    Point("done", "committed", lambda seen: seen.phase is Phase.DONE),
    Point("an old replica asked to end", "committed", lambda seen: "stopping" in seen.states(seen.fate.old)),
    Point("an old replica ended, not forgotten", "ended", release="old"),
    Point("the abort not committed", "uncommitted", lambda seen: seen.phase is Phase.FAILED, bad=True),
    Point("the abort committed", "committed", lambda seen: seen.phase is Phase.FAILED, bad=True),
    Point("the abort projected", "projected", lambda seen: not seen.file.candidate and _ended(seen), bad=True),
    Point("a bad replica asked to end", "committed", lambda seen: "stopping" in seen.states(seen.fate.new), bad=True),
    Point("a bad replica ended, not forgotten", "ended", release="new", bad=True),
)


def _ended(seen: Seen) -> bool:
    return seen.phase is Phase.FAILED


class Reaper:
    """Kills this process when the point that its home names is reached."""

    def __init__(self, home: Home) -> None:
        self.home, self.points = home, {one.name: one for one in POINTS}

    def at(self, moment: Moment, database: Database | None = None, release: str = "") -> None:
        if moment == "committed" and database:
            witness(self.home, database)
        with contextlib.suppress(FileNotFoundError):
            fate = msgspec.json.decode((self.home.path / "fate.json").read_bytes(), type=Fate)
            point = self.points[fate.point]
            if point.moment == moment and self._reached(point, fate, database, release):
                os.kill(os.getpid(), signal.SIGKILL)

    def _reached(self, point: Point, fate: Fate, database: Database | None, release: str) -> bool:
        if point.release:
            return release == getattr(fate, point.release)
        return database is not None and point.reached(Seen(self.home, database, fate))


class MortalDatabase(Database):
    """May die before and after everything that becomes durable."""

    reaper: Reaper

    def execute(self, statement):
        done = super().execute(statement)
        if not self.in_transaction:
            self.reaper.at("committed", self)
        return done

    @contextlib.contextmanager
    def transaction(self):
        outermost = not self.in_transaction
        with super().transaction():
            yield self
            if outermost:
                self.reaper.at("uncommitted", self)
        if outermost:
            self.reaper.at("committed", self)


class MortalHost(Host):
    """Starts paper replicas instead of models; may die right after one was started, and after one ended."""

    reaper: Reaper

    def start(self, state, release, id):
        shares = json.loads((self.home.path / "shares.json").read_text())
        port = free_port()
        words = [str(port), release, str(shares.get(release, 0.0)), id]
        launch = Launch((sys.executable, "-I", "-S", str(REPLICA), *words), port, PROBE)
        process = LocalTarget(self.home.run).start(launch, self.log(state.name, id))
        self.reaper.at("started", release=release)
        return launch, process

    def stop(self, state, replica):
        super().stop(state, replica)
        self.reaper.at("ended", release=replica.release)


class TimedController(Controller):
    """Keeps what its rounds cost while a canary ran, and what judging in them did, in seconds of processor time."""

    looks: list[tuple[float, float]]

    def _round(self, state):
        began, self.judged = time.thread_time(), 0.0
        happened = super()._round(state)
        if self.judged:
            self.looks.append((time.thread_time() - began, self.judged))
        return happened

    def _judge(self, state, view):
        began = time.thread_time()
        happened = super()._judge(state, view)
        if view.rollout and view.rollout.phase is Phase.CANARY:
            self.judged = time.thread_time() - began
        return happened


def main(home: Home) -> int:
    reaper = MortalDatabase.reaper = MortalHost.reaper = Reaper(home)
    TimedController.looks = []
    service.Database, service.Host, service.Controller = MortalDatabase, MortalHost, TimedController
    act, write = service._act, project.write_atomic

    def acted(home, database, *how, **more):
        def write_atomic(*what, **more):
            write(*what, **more)
            reaper.at("projected", database)

        project.write_atomic = write_atomic
        return act(home, database, *how, **more)

    service._act = acted
    try:
        return program.main(["--home", str(home.path)])
    finally:
        (home.path / "looks.json").write_text(json.dumps(TimedController.looks))


if __name__ == "__main__":
    sys.exit(main(Home(Path(sys.argv[1]))))
