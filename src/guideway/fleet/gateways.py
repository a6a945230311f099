"""The gateways of one home: each a process of its own, known by the file that it writes and by its log."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from guideway.core.launch import Process
from guideway.core.rollout import EnvironmentState
from guideway.core.route import GatewaySettings
from guideway.fleet.decide import Standing
from guideway.fleet.look import GatewayState, gateway_state
from guideway.fleet.project import gateway_settings, project_gateway, projected_gateway
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
        given = self._given(state, running)
        if given is None:
            return Standing.OTHER
        if given != state.port:
            _write_port(database, state, given)
        return Standing.UP

    def start(self, state: EnvironmentState) -> None:
        """Start the gateway of an environment.

        Raises:
            OSError: the process cannot be started.
        """
        settings = project_gateway(self.home, state)
        argv = [*self._argv, "--settings", str(settings)]
        self._processes[state.name] = Process(*spawn_detached(argv, dict(os.environ), self.log(state.name)))

    def stop(self, environment: str) -> None:
        """Stop the gateway of an environment, draining it. Returns when it is gone."""
        process = self._processes.get(environment)
        if process:
            settings = projected_gateway(self.home, environment)
            lame_duck = settings.options.lame_duck if settings else 0.0
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

    def _given(self, state: EnvironmentState, running: GatewayState) -> int | None:
        """The port of a gateway that serves with the settings that are wanted now; None for another one."""
        wanted, has = gateway_settings(self.home, state), projected_gateway(self.home, state.name)
        same_port = wanted.port in (0, running.port)
        return running.port if has and same_port and _but_port(wanted) == _but_port(has) else None


def _but_port(settings: GatewaySettings) -> GatewaySettings:
    return msgspec.structs.replace(settings, port=0)


def _write_port(database: Database, state: EnvironmentState, port: int) -> None:
    """Keep the port of *state*, unless somebody asked for something else meanwhile."""
    with database.transaction():
        if fleet.environment(database, state.name) == state:
            fleet.put_environment(database, msgspec.structs.replace(state, port=port))
