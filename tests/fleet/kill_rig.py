"""A fleet in which a controller is killed: real processes all of them, users who ask all the time, and what must hold.

The model servers are of paper (``kill_replica.py``); the gateway with its workers and companions, the controller, the
state and the spool of outcomes are those of production. One town lives through many rollouts.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from kill_controller import FIRST, SECOND, Fate, Point
from kill_counts import Counts
from kill_load import Load

from guideway.core.artifact import short
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.route import Route
from guideway.core.spec import Gateway
from guideway.core.spec.rollout import Required, Step
from guideway.core.spec.rollout import Rollout as Asked
from guideway.fleet import orders
from guideway.fleet.judge import again
from guideway.fleet.look import gateway_state
from guideway.kit.files import write_atomic
from guideway.kit.process import outputs, terminate
from guideway.store import fleet, ledger, releases
from guideway.store.database import Database
from guideway.store.home import Home

T = TypeVar("T")
HERE = Path(__file__).parent
RATE, ILL, RESTART = 50.0, 0.6, 30.0
"""Requests a second; the share of a bad candidate's answers that are errors; seconds until all must be well again."""
WORKERS, REPLICAS = 2, 2
ASKED = Asked(
    strategy="canary",
    steps=(Step(FIRST, 20, shortest=0.0), Step(SECOND, 20, shortest=0.0)),
    require=(Required("errors", 2.0, objective=0.3),),
    unit="request",
)
"""Two steps that take a second at 50 requests/s; 17 answers without an error are proof enough."""


class Killed(NamedTuple):
    """What became of a rollout whose controller was killed. Seconds from the start of the next controller.

    ``errors`` are those of the bad candidate's own, ``broken`` is what failed besides; ``wrong`` names all that should
    not be.
    """

    phase: Phase
    terminal: float
    settled: float
    asked: int
    errors: int
    counted: int
    broken: list[str]
    wrong: list[str]


class Town:
    """One home: a gateway of two workers, replicas of a stable release, and a controller as a process."""

    def __init__(self, folder: Path, *, bake: float = 0.0, asked: Asked = ASKED) -> None:
        os.environ.pop("GUIDEWAY_HOME", None)
        self.home, self.bake, self.asked = Home.of(folder), bake, asked
        self.database = Database(self.home.database)
        self.shares: dict[str, float] = {}
        self.key = ""
        self.controller: subprocess.Popen[bytes] | None = None

    def begin(self) -> Town:
        """Bring up a first release, and a key."""
        gateway = Gateway(port=0, workers=WORKERS)
        fleet.put_environment(self.database, EnvironmentState("dev", "m", "local", REPLICAS, gateway))
        first = self.ship(strategy="all-at-once")
        self.start()
        self.until(lambda: self.rollout(first).phase is Phase.DONE, 120.0)
        self.key = orders.make_key(self.home, self.database, "dev", "load", clock=time.time)
        with Load(self.port, self.key, RATE, "the first moment") as load:  # until the workers know the key
            self.until(lambda: sum(not one.wrong for one in load.answers) >= 10, 60.0)
        return self

    @property
    def port(self) -> int:
        state = gateway_state(self.home, "dev")
        assert state
        return state.port

    @property
    def stable(self) -> str:
        route = fleet.route(self.database, "dev")
        return route.stable.release if route and route.stable else ""

    def start(self) -> None:
        """A new controller; the one before must be gone."""
        with (self.home.logs / "controller.log").open("ab") as log:
            argv = [sys.executable, str(HERE / "kill_controller.py"), str(self.home.path)]
            self.controller = subprocess.Popen(argv, stdout=log, stderr=log)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the controller; what it started goes on."""
        if self.controller:
            self.controller.send_signal(number)
            self.controller.wait(30)
            self.controller = None

    def ship(self, *, share: float = 0.0, doom: Point | None = None, **changes) -> Rollout:
        """Ask for a release that nobody knew before, the way the command line does; *share* of its answers are 500."""
        now, release, id = time.time(), "sha256:" + secrets.token_hex(32), secrets.token_hex(4)
        self.shares[release] = share
        (self.home.path / "shares.json").write_bytes(msgspec.json.encode(self.shares))
        row = {"release": release, "environment": "dev", "verdict": "PASS", "envelope": "sha256:e"}
        releases.put_admission(self.database, **row, at=now)
        plain = Rollout(id, "dev", release, self.stable or None, Phase.PENDING, now, now, 60.0, self.bake)
        rollout = msgspec.structs.replace(plain, **{"strategy": "canary", "asked": self.asked, **changes})
        if doom:
            self.doom(doom, rollout)
        fleet.begin_rollout(self.database, rollout)
        return rollout

    def doom(self, point: Point, rollout: Rollout) -> None:
        """The controller that runs, or the next one, is killed at *point* of *rollout*."""
        told = msgspec.json.encode(Fate(point.name, rollout.id, rollout.release, rollout.previous or ""))
        write_atomic(self.home.path / "fate.json", told, durable=False)

    def bury(self) -> None:
        """Wait until the controller is killed."""
        assert self.controller
        self.until(lambda: self.controller.poll() is not None, 60.0)
        assert self.controller.returncode == -signal.SIGKILL, self.words()
        (self.home.path / "fate.json").unlink()

    def rollout(self, asked: Rollout) -> Rollout:
        found = fleet.rollout(self.database, asked.id)
        assert found
        return found

    def until(self, condition: Callable[[], T], seconds: float, pause: float = 0.02) -> T:
        """Wait until *condition* holds; its value."""
        deadline, waiting = time.monotonic() + seconds, threading.Event()
        while not (value := condition()):
            assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s\n{self.words()}"
            waiting.wait(pause)
        return value

    def words(self) -> str:
        """What the controllers said last."""
        return (self.home.logs / "controller.log").read_text(errors="replace")[-2000:]

    def replicas(self) -> list[Replica]:
        return fleet.replicas(self.database, "dev")

    def processes(self, kind: str) -> set[int]:
        """Every process that leads a session of its own and writes to such a log of this home, noted or not."""
        logs = self.home.logs.resolve()
        ours = {
            log: found for log, found in outputs().items() if log.is_relative_to(logs) and log.name.startswith(kind)
        }
        return {pid for found in ours.values() for pid, _ in found if _leads(pid)}

    def is_settled(self) -> bool:
        """One fleet: the stable release with all its replicas, one gateway, and nothing else; the file as the row."""
        replicas, route = self.replicas(), fleet.route(self.database, "dev")
        gateway = gateway_state(self.home, "dev")
        if route is None or route.stable is None or gateway is None or route.candidate:
            return False
        return (
            [(one.state, one.release) for one in replicas] == [("ready", route.stable.release)] * REPLICAS
            and self.processes("replica") == {one.process.pid for one in replicas}
            and self.processes("gateway") == {gateway.pid}
            and sorted(one.port for one in route.stable.endpoints) == sorted(one.port for one in replicas)
            and self.file() == route
        )

    def file(self) -> Route:
        return msgspec.json.decode((self.home.environment("dev") / "route.json").read_bytes(), type=Route)

    def asked_of(self, release: str) -> list[float]:
        """When users' requests reached replicas of *release*, in seconds since 1970."""
        found: list[float] = []
        for log in (self.home.logs / "dev").glob("replica-*.log"):
            lines = log.read_text().split("\n")
            if lines[0] == f"release {release}":
                found += [float(line.split()[1]) for line in lines[:-1] if line.startswith("asked ")]
        return sorted(found)

    def end(self) -> None:
        """End everything that was started."""
        if self.controller:
            self.stop(signal.SIGKILL)
        for log, found in outputs().items():
            if log.is_relative_to(self.home.logs.resolve()):
                for pid, started in found:
                    terminate(pid, started, 0.0)
        self.database.close()


def _leads(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


@contextlib.contextmanager
def town(folder: Path, **how) -> Iterator[Town]:
    """A town that has begun, and is ended whatever happens."""
    made = Town(folder, **how)
    try:
        yield made.begin()
    finally:
        made.end()


def killed_at(town: Town, points: Sequence[Point], seed: int) -> Killed:
    """A rollout whose controllers are killed at *points*, one after the other, and ended by a last one, under load."""
    dice, bad = random.Random(f"{points[0].name} {seed}"), points[0].bad
    counts = Counts(town.home)
    with Load(town.port, town.key, RATE, "".join(dice.choices("klmnop", k=8))) as load:
        rollout = town.ship(share=ILL if bad else 0.0, doom=points[0])
        for later in (*points[1:], None):
            town.bury()
            threading.Event().wait(dice.uniform(0.0, 0.2))
            if later:
                town.doom(later, rollout)
            began = time.monotonic()
            town.start()
        ended = town.until(lambda: (now := town.rollout(rollout)).phase.final and now, 2 * RESTART)
        terminal = time.monotonic() - began
        town.until(town.is_settled, 2 * RESTART)
        settled = time.monotonic() - began
    broken = load.broken({short(rollout.release)} if bad else ())
    errors = sum(bool(one.wrong) for one in load.answers) - len(broken)
    counted, wrong = counts.check(rollout.id)
    wrong += [*broken, *_wrongs(town, ended, bad)]
    wrong += [f"it took {one:.1f} s" for one in (terminal, settled) if one > RESTART]
    return Killed(ended.phase, terminal, settled, load.asked, errors, counted, broken, wrong)


def _wrongs(town: Town, rollout: Rollout, bad: bool) -> Iterator[str]:
    """What should not be, once *rollout* of a good or *bad* candidate is over."""
    if rollout.phase is not (Phase.FAILED if bad else Phase.DONE):
        yield f"it is {rollout.phase}: {rollout.reason}"
    if (town.stable == rollout.release) is bad:
        yield f"{short(town.stable)} has the traffic"
    if not ledger.verify(town.database):
        yield "the ledger is empty"
    lines = [one for one in ledger.entries(town.database) if one.data.get("rollout") == rollout.id]
    decisions = [one for one in lines if "situation" in one.data]
    if not decisions:
        yield "the ledger tells of no decision"
    for one in decisions:
        told, found = again(msgspec.to_builtins(one.data))
        if told != found:
            yield f"line {one.seq} does not follow from its numbers"
