"""A fleet in small: real processes that answer like model servers and gateways, the real controller, a real state."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from guideway.core.launch import Launch, Probe, Process, Replica
from guideway.core.load import Load
from guideway.core.rollout import EnvironmentState, Phase, Rollout
from guideway.core.spec import Gateway
from guideway.fleet.controller import Controller
from guideway.fleet.gateways import Gateways
from guideway.fleet.hands import Hands
from guideway.fleet.host import Host
from guideway.fleet.scaler import Scaler
from guideway.kit.process import free_port, is_alive, outputs, terminate
from guideway.store import fleet, releases
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.targets.local import LocalTarget

T = TypeVar("T")
OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64

MORTAL = Path(__file__).with_name("mortal_controller.py")

MODEL = r"""
import socket, sys
port, how = int(sys.argv[1]), sys.argv[2]
if how == "dies":
    sys.exit("no such model")
body = b'{"usage": {"completion_tokens": %d}}' % (how != "mute")
asked = 0
with socket.create_server(("127.0.0.1", port)) as server:
    while True:
        with server.accept()[0] as client:
            client.recv(65536)
            asked += 1
            if how == "lies" and asked > 1:
                body = b"<html>all is well</html>"
            client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
"""
GATEWAY = r"""
import json, os, signal, socket, sys
from pathlib import Path
from guideway.kit.process import start_time

path = Path(sys.argv[-1])
kept, state = path.with_name(path.name + ".served"), path.with_name(path.name + ".state")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
serving = server = refused = None

def put(file, data):
    file.with_suffix(".new").write_text(json.dumps(data))
    file.with_suffix(".new").rename(file)

def take_up(settings):
    global serving, server, refused
    port = server.getsockname()[1] if server else 0
    if server is None or settings["port"] not in (0, port):
        server = socket.create_server(("127.0.0.1", settings["port"]))
    serving, refused = settings, None
    put(kept, {**settings, "port": server.getsockname()[1]})

while True:
    wanted = json.loads(path.read_bytes())
    try:
        take_up(wanted)
    except OSError as error:
        why = f"port {wanted['port']}: {os.strerror(error.errno)}"
        if serving is None and not kept.exists():
            sys.exit(why)
        if serving is None:
            take_up(json.loads(kept.read_bytes()))
        refused = {"generation": wanted["generation"], "why": why}
    me = {"pid": os.getpid(), "started": start_time(os.getpid()), "port": server.getsockname()[1]}
    put(state, {**me, "generation": serving["generation"], "refused": refused})
    signal.sigwait({signal.SIGHUP})
"""
PROGRAM = (sys.executable, "-c", GATEWAY)


class TinyHost(Host):
    """Starts tiny servers instead of models. ``how`` says how the replicas of a release behave."""

    def __init__(self, home: Home, how: dict[str, str]) -> None:
        super().__init__(home)
        self.how = how
        self.unmaps: list[str] = []

    def start(self, state: EnvironmentState, release: str, id: str) -> tuple[Launch, Process]:
        port = free_port()
        argv = (sys.executable, "-I", "-S", "-c", MODEL, str(port), self.how.get(release, "well"))
        launch = Launch(argv, port, Probe("/v1/completions", "{}"))
        return launch, LocalTarget(self.home.run).start(launch, self.log(state.name, id))

    def unmapped(self, release: str) -> None:
        self.unmaps.append(release)


class Fleet:
    """One home with a controller that a test steps by hand."""

    def __init__(self, folder: Path, url: str = "", program: Sequence[str] = PROGRAM) -> None:
        os.environ.pop("GUIDEWAY_HOME", None)
        self.home, self.program = Home.of(folder, url), program
        self.database = Database(self.home.database)
        self.now = time.time
        self.steadily, self.passing = 0.0, time.monotonic
        self.load = Load()
        self.how: dict[str, str] = {}
        self.controller = self.new_controller()

    def new_controller(self) -> Controller:
        """Another controller, as if the one before had been killed."""
        self.host = TinyHost(self.home, self.how)
        self.gateways = Gateways(self.home, self.program)
        self.controller = Controller(
            self.home, self.database, self.host, self.gateways, self._clock, steady=self._steady
        )
        self.controller.scaler = Scaler(self.home, self.database, self._clock, lambda state, now: self.load)
        self.controller._adopt()
        return self.controller

    def _steady(self) -> float:
        """Goes on by itself, and further when a test says so."""
        return self.passing() + self.steadily

    def use(self, host: Host) -> None:
        """Let *host* do what the controller asks for, instead of the tiny one."""
        self.host = self.controller.host = host
        self.controller.hands = Hands(host, self.gateways, ThreadPoolExecutor(4))

    def _clock(self) -> float:
        return self.now()  # a test may put another one in its place

    def until(self, condition: Callable[[], T], seconds: float = 30.0) -> T:
        """Step the controller until *condition* holds; its value."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            self.controller.once()
            self.controller.stopping.wait(0.002)
        return value

    def calm(self) -> None:
        """Step until nothing is left to do."""
        rounds = 0
        while rounds < 5:
            rounds = 0 if self.controller.once() or self.controller.hands.busy else rounds + 1
            self.controller.stopping.wait(0.002)

    def ship(self, release: str = NEW, *, admitted: bool = True, environment: str = "dev", **changes) -> Rollout:
        """Ask for a release, the way the command line does."""
        more = {key: changes.pop(key) for key in ("replicas", "gateway", "scale") if key in changes}
        state = EnvironmentState(environment, "m", "local", **{"replicas": 2, "gateway": Gateway(port=0), **more})
        before = fleet.environment(self.database, environment)
        if before and before.gateway.port == state.gateway.port:
            state = msgspec.structs.replace(state, port=before.port)
        if admitted:
            row = {"release": release, "environment": environment, "verdict": "PASS", "envelope": "sha256:e"}
            releases.put_admission(self.database, **row, at=1.0)
        route = fleet.route(self.database, environment)
        previous = route.stable.release if route and route.stable else None
        id = f"r{len(fleet.rollouts(self.database)) + 1}"
        now = time.time()
        plain = Rollout(id, environment, release, previous, Phase.PENDING, now, now, ready_within=20.0, bake=300.0)
        asked = msgspec.structs.replace(plain, **changes)
        with self.database.transaction():
            fleet.put_environment(self.database, state)
            fleet.begin_rollout(self.database, asked)
        return asked

    def served(self, release: str = NEW, **changes) -> Rollout:
        """Ship *release* and step until the rollout is over."""
        rollout = self.ship(release, **changes)
        return self.until(lambda: (now := self.rollout(rollout.id)).phase.final and now)

    def down(self, environment: str = "dev") -> None:
        state = fleet.environment(self.database, environment)
        assert state
        fleet.put_environment(self.database, msgspec.structs.replace(state, up=False))

    def rollout(self, id: str) -> Rollout:
        found = fleet.rollout(self.database, id)
        assert found
        return found

    def replicas(self, release: str | None = None) -> list[Replica]:
        return [one for one in fleet.replicas(self.database) if release in (None, one.release)]

    def ports(self) -> list[int]:
        """Where the route sends people."""
        route = fleet.route(self.database, "dev")
        return [endpoint.port for endpoint in route.stable.endpoints] if route and route.stable else []

    def processes(self, kind: str = "") -> set[int]:
        """Every process that writes to a log of this home, noted or not."""
        logs = self.home.logs.resolve()
        return {
            pid
            for log, found in outputs().items()
            if log.is_relative_to(logs) and log.name.startswith(kind)
            for pid, _ in found
        }

    def end(self) -> None:
        """End everything that was started."""
        self.controller._settle()
        for log, found in outputs().items():
            if log.is_relative_to(self.home.logs.resolve()):
                for pid, started in found:
                    terminate(pid, started, 0.0)
        self.database.close()


def run_controller(fleet: Fleet, at: int) -> subprocess.CompletedProcess[str]:
    """Run a controller that is killed at point *at*, or never."""
    argv = [sys.executable, str(MORTAL), str(fleet.home.path), str(at)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def alive(replica: Replica) -> bool:
    return is_alive(replica.process.pid, replica.process.started)
