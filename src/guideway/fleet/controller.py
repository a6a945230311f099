"""The controller: look at the rows, decide, act, again. Kill it at any moment; the next one goes on from the rows."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.launch import Launch, Process, Replica
from guideway.core.protocols import Clock
from guideway.core.rollout import EnvironmentState, Phase
from guideway.core.route import Arm, Route
from guideway.fleet import decide as deciding
from guideway.fleet.decide import Action, Move, SetRoute, Start, StartGateway, Stop, StopGateway, View
from guideway.fleet.host import DRAIN, Host, generates, last_words
from guideway.fleet.look import gateway_state
from guideway.fleet.project import project_keys, project_route
from guideway.kit.process import is_alive
from guideway.store import fleet, ledger
from guideway.store.database import Database
from guideway.store.home import Home

BUSY, IDLE = 0.02, 0.2
"""Seconds between two looks, while something is under way and while nothing is."""
PROBE_TIMEOUT = 10.0


class Controller:
    """Acts for every environment of one home. Used by one thread; slow work runs in a pool."""

    def __init__(self, home: Home, database: Database, host: Host, clock: Clock) -> None:
        self.home, self.database, self.host, self.clock = home, database, host, clock
        self.epoch = fleet.take_epoch(database)
        self.stopping = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="hands")
        self._starts: dict[Future[tuple[Launch, Process]], tuple[EnvironmentState, Digest, str]] = {}
        self._probing: dict[Future[bool], str] = {}
        self._ending: dict[str, Future[Any]] = {}
        self._gateways: dict[str, Process] = {}
        self._deaths: Counter[tuple[str, str]] = Counter()
        self._last_death: dict[tuple[str, str], float] = {}
        self._last_words: dict[tuple[str, str], str] = {}

    def run(self) -> None:
        """Look and act until told to stop, or until every environment is down and quiet."""
        try:
            while not self.stopping.is_set():
                acted = self.once()
                if not acted and self._all_down():
                    self.host.rest()
                    return
                self.stopping.wait(BUSY if acted or self._under_way() else IDLE)
        finally:
            self._settle()

    def once(self) -> bool:
        """One round over all environments; did anything happen?"""
        happened = self._collect()
        for state in fleet.environments(self.database):
            self._bury(state.name)
            for action in deciding.decide(self._view(state)):
                happened = True
                try:
                    self._act(state, action)
                except Unavailable:  # somebody took the fence, a rollback from the command line say: take it again
                    self.epoch = fleet.take_epoch(self.database)
                    break
            self._probe_starting(state.name)
            self._project(state)
        return happened

    # -- what is -------------------------------------------------------------------------------------------------

    def _view(self, state: EnvironmentState) -> View:
        name = state.name
        running = fleet.rollouts(self.database, name, running=True)
        done = [one for one in fleet.rollouts(self.database, name) if one.phase is Phase.DONE]
        ending = set(self._ending)
        launching = Counter(release for one, release, _ in self._starts.values() if one.name == name)
        return View(
            now=self.clock(),
            state=state,
            route=fleet.route(self.database, name),
            rollout=running[0] if running else None,
            last_done=done[0] if done else None,
            replicas=tuple(one for one in fleet.replicas(self.database, name) if one.id not in ending),
            launching=dict(launching),
            deaths={what: count for (where, what), count in self._deaths.items() if where == name},
            last_death={what: at for (where, what), at in self._last_death.items() if where == name},
            last_words={what: words for (where, what), words in self._last_words.items() if where == name},
            gateway_up=self._gateway_up(name),
        )

    def _gateway_up(self, environment: str) -> bool:
        state = gateway_state(self.home, environment)
        if state is None:
            return False
        row = fleet.environment(self.database, environment)
        if row and row.port != state.port:
            fleet.put_environment(self.database, msgspec.structs.replace(row, port=state.port))
        return True

    def _bury(self, environment: str) -> None:
        """Forget replicas whose process is gone, and remember that they died unless they were asked to end."""
        for replica in fleet.replicas(self.database, environment):
            if is_alive(replica.process.pid, replica.process.started):
                continue
            fleet.drop_replica(self.database, replica.id)
            if replica.id not in self._ending:
                self._died(environment, replica.release, last_words(self.host.log(environment, replica.id)))
        started = self._gateways.get(environment)
        if started and not is_alive(started.pid, started.started):
            del self._gateways[environment]
            if (row := fleet.environment(self.database, environment)) and row.up:
                self._died(environment, "gateway", last_words(self.host.gateway_log(environment)))

    def _died(self, environment: str, what: str, words: str) -> None:
        self._deaths[environment, what] += 1
        self._last_death[environment, what] = self.clock()
        self._last_words[environment, what] = words

    # -- what is done --------------------------------------------------------------------------------------------

    def _act(self, state: EnvironmentState, action: Action) -> None:
        if isinstance(action, Start):
            id = secrets.token_hex(3)
            future = self._pool.submit(self.host.start, state, action.release, id)
            self._starts[future] = (state, action.release, id)
        elif isinstance(action, Stop):
            self._stop(state, action.replica)
        elif isinstance(action, SetRoute):
            self._set_route(state, action)
        elif isinstance(action, Move):
            self._move(state, action)
        elif isinstance(action, StartGateway) and state.name not in self._gateways:
            self._gateways[state.name] = self.host.start_gateway(state)
        elif isinstance(action, StopGateway) and f"gateway {state.name}" not in self._ending:
            self._gateways.pop(state.name, None)
            self._ending[f"gateway {state.name}"] = self._pool.submit(self.host.stop_gateway, state.name)

    def _stop(self, state: EnvironmentState, id: str) -> None:
        replica = next(one for one in fleet.replicas(self.database, state.name) if one.id == id)
        fleet.put_replica(self.database, msgspec.structs.replace(replica, state="stopping"))
        self._ending[id] = self._pool.submit(self.host.target(state.target).stop, replica.process, DRAIN)

    def _set_route(self, state: EnvironmentState, action: SetRoute) -> None:
        old = fleet.route(self.database, state.name)
        route = Route(
            environment=state.name,
            model=state.model,
            revision=old.revision + 1 if old else 1,
            epoch=self.epoch,
            stable=Arm(action.release, action.endpoints),
        )
        with self.database.transaction():
            fleet.put_route(self.database, route)
            if not (old and old.stable and old.stable.release == action.release):
                self._log("route", action.release, f"{state.name}, {len(action.endpoints)} replicas")
        project_route(self.home, route)

    def _move(self, state: EnvironmentState, action: Move) -> None:
        rollout = next(iter(fleet.rollouts(self.database, state.name, running=True)), None)
        if rollout is None:
            return
        moved = msgspec.structs.replace(rollout, phase=action.phase, updated=self.clock(), reason=action.reason)
        with self.database.transaction():
            fleet.put_rollout(self.database, moved)
            if action.phase.final:
                why = f"{state.name}: {action.reason}" if action.reason else state.name
                self._log(f"rollout {action.phase}", rollout.release, why)
        if action.phase is Phase.STARTING:
            for what in (rollout.release, "gateway"):  # a new rollout starts with a clean slate
                self._deaths.pop((state.name, what), None)

    def _log(self, what: str, subject: str, why: str) -> None:
        ledger.append(self.database, at=self.clock(), who="controller", what=what, subject=subject, why=why)

    def _project(self, state: EnvironmentState) -> None:
        """Make sure that the files that workers follow exist, after a restart on an emptied run folder say."""
        folder = self.home.environment(state.name)
        if not (folder / "keys.json").exists():
            project_keys(self.home, self.database, state.name)
        route = fleet.route(self.database, state.name)
        if route and not (folder / "route.json").exists():
            project_route(self.home, route)

    # -- what comes back -----------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take the results of slow work that is finished."""
        started = [future for future in self._starts if future.done()]
        probed = [future for future in self._probing if future.done()]
        ended = [id for id, future in self._ending.items() if future.done() and not self._row(id)]
        for start in started:
            self._started(start)
        for probe in probed:
            self._probed(probe)
        for id in ended:
            del self._ending[id]
        return bool(started or probed or ended)

    def _row(self, id: str) -> bool:
        return any(one.id == id for one in fleet.replicas(self.database))

    def _started(self, future: Future[tuple[Launch, Process]]) -> None:
        state, release, id = self._starts.pop(future)
        try:
            launch, process = future.result()
        except (GuidewayError, OSError) as error:
            self._died(state.name, release, str(error))
            return
        log = str(self.host.log(state.name, id))
        replica = Replica(id, state.name, release, launch.port, process, "starting", log, self.clock(), launch.probe)
        fleet.put_replica(self.database, replica)

    def _probe_starting(self, environment: str) -> None:
        """Ask every starting replica for a token, one question at a time each."""
        busy = {*self._probing.values(), *self._ending}
        for replica in fleet.replicas(self.database, environment):
            if replica.state == "starting" and replica.id not in busy and replica.probe:
                future = self._pool.submit(generates, replica.port, replica.probe, PROBE_TIMEOUT)
                self._probing[future] = replica.id

    def _probed(self, future: Future[bool]) -> None:
        id = self._probing.pop(future)
        if not future.result() or id in self._ending:
            return
        for replica in fleet.replicas(self.database):
            if replica.id == id and replica.state == "starting":
                fleet.put_replica(self.database, msgspec.structs.replace(replica, state="ready"))
                self._deaths.pop((replica.environment, replica.release), None)

    # -- when it ends --------------------------------------------------------------------------------------------

    def _under_way(self) -> bool:
        return bool(self._starts or self._probing or self._ending)

    def _all_down(self) -> bool:
        states = fleet.environments(self.database)
        quiet = not self._under_way() and not fleet.replicas(self.database)
        return quiet and bool(states) and not any(state.up for state in states)

    def _settle(self) -> None:
        """Write down what was being started, so that the next controller knows it; then let go."""
        for future in tuple(self._starts):
            future.exception()
            self._started(future)
        self._pool.shutdown(wait=True, cancel_futures=True)


def stop_on_signals(controller: Controller) -> None:
    """SIGTERM and SIGINT end the loop after the current round. What runs goes on running."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: controller.stopping.set())


def describe(controller: Controller) -> str:
    """One line for the log when it begins."""
    names = ", ".join(state.name for state in fleet.environments(controller.database))
    return f"controller {os.getpid()} acts with epoch {controller.epoch} for: {names or 'nothing yet'}"
