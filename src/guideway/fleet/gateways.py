"""The gateways of one home: each a process of its own, known by the file that it writes and by its log."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from guideway.core.launch import Process
from guideway.core.rollout import EnvironmentState
from guideway.fleet.look import GatewayState, gateway_state
from guideway.fleet.project import gateway_settings, means, project_gateway, projected_gateway, served_gateway
from guideway.fleet.view import Standing
from guideway.kit.process import is_alive, last_words, spawn_detached, terminate, writers
from guideway.store import fleet
from guideway.store.database import Database
from guideway.store.home import Home

PROGRAM = (sys.executable, "-P", "-m", "guideway.gateway")
DRAIN = 14.0
"""Seconds that a gateway gets to finish what it answers, after its lame duck's time; its workers take twelve."""


class Gateways:
    """Starts, finds and stops gateways. ``stop`` blocks and may be called from any thread."""

    def __init__(self, home: Home, argv: Sequence[str] = PROGRAM) -> None:
        self.home, self._argv = home, argv
        self._processes: dict[str, Process] = {}

    def log(self, environment: str) -> Path:
        """The log of the gateway of an environment."""
        return self.home.logs / environment / "gateway.log"

    def last_words(self, environment: str) -> str:
        """What the gateway of an environment said at the end."""
        return last_words(self.log(environment))

    def adopt(self, environment: str) -> None:
        """Find a gateway that a controller before us started and that has not said yet where it listens."""
        for pid, started in writers(self.log(environment)):
            if os.getsid(pid) == pid:  # its parent process; the workers have the same log
                self._processes[environment] = Process(pid, started)

    def standing(self, state: EnvironmentState, database: Database) -> Standing:
        """How the gateway of an environment stands; the port that it was given is written down."""
        running = gateway_state(self.home, state.name)
        if running is None:
            return Standing.COMING if self._runs(state.name) else Standing.NONE
        self._processes[state.name] = Process(running.pid, running.started)
        found = self._compared(state, running)
        if found is Standing.UP and running.port != state.port:
            _write_port(database, state, running.port)
        return found

    def refusal(self, environment: str) -> str:
        """Why the gateway of an environment cannot take up what it was asked to; empty where it said nothing."""
        running = gateway_state(self.home, environment)
        return running.refused.why if running and running.refused else ""

    def start(self, state: EnvironmentState) -> None:
        """Start the gateway of an environment.

        Raises:
            OSError: the process cannot be started.
        """
        settings = project_gateway(self.home, state)
        argv = [*self._argv, "--settings", str(settings)]
        self._processes[state.name] = Process(*spawn_detached(argv, dict(os.environ), self.log(state.name)))

    def reload(self, state: EnvironmentState) -> None:
        """Ask the gateway of an environment to take up the settings that are wanted; it says what became of that."""
        running = gateway_state(self.home, state.name)
        if running is not None:
            project_gateway(self.home, state, running.generation or 0)
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGHUP)

    def restore(self, state: EnvironmentState, database: Database) -> None:
        """Want again what serves, after the gateway of an environment refused what was wanted; tell it, too.

        Whoever wants the same once more is then not answered by the refusal of before.
        """
        running, served = gateway_state(self.home, state.name), served_gateway(self.home, state.name)
        if running is None or served is None:
            return
        serves = msgspec.structs.replace(state, gateway=served.options, port=running.port)
        with database.transaction():
            if fleet.environment(database, state.name) == state:
                fleet.put_environment(database, serves)
                self.reload(serves)

    def stop(self, environment: str) -> None:
        """Stop the gateway of an environment, draining it. Returns when it is gone."""
        process = self._processes.get(environment)
        if process:
            known = (projected_gateway(self.home, environment), served_gateway(self.home, environment))
            lame_duck = max((one.options.lame_duck for one in known if one), default=0.0)
            terminate(process.pid, process.started, DRAIN + lame_duck)

    def buried(self, environment: str) -> bool:
        """Is a gateway that ran gone? Said once."""
        if environment not in self._processes or self._runs(environment):
            return False
        del self._processes[environment]
        return True

    def _runs(self, environment: str) -> bool:
        process = self._processes.get(environment)
        return process is not None and is_alive(process.pid, process.started)

    def _compared(self, state: EnvironmentState, running: GatewayState) -> Standing:
        """What is wanted against what was asked for, and against what became of that."""
        wanted, asked = gateway_settings(self.home, state), projected_gateway(self.home, state.name)
        if running.generation is None:
            return Standing.UP if asked and means(asked, wanted, running.port) else Standing.OTHER
        if asked is None or not means(asked, wanted, running.port):
            return Standing.STALE
        if running.generation == asked.generation:
            return Standing.UP
        if running.refused and running.refused.generation == asked.generation:
            return Standing.REFUSED
        return Standing.CHANGING if running.taking == asked.generation else Standing.STALE


def _write_port(database: Database, state: EnvironmentState, port: int) -> None:
    """Keep the port of *state*, unless somebody asked for something else meanwhile."""
    with database.transaction():
        if fleet.environment(database, state.name) == state:
            fleet.put_environment(database, msgspec.structs.replace(state, port=port))
