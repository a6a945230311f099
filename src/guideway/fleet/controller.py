"""The controller: look at the rows, decide, act, again. Kill it at any moment; the next one goes on from the rows."""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt, GuidewayError, Refused, SpecError
from guideway.core.launch import Replica
from guideway.core.protocols import Clock
from guideway.core.rollout import EnvironmentState, Phase
from guideway.fleet.checkup import Checkup
from guideway.fleet.company import Company
from guideway.fleet.decide import (
    Action,
    Move,
    ReloadGateway,
    RestoreGateway,
    SetRoute,
    Start,
    StartGateway,
    Stop,
    StopGateway,
    decide,
    reroute,
)
from guideway.fleet.gateways import Gateways
from guideway.fleet.hands import Ended, Hands, Order, Probed, Started, gateway_key
from guideway.fleet.hear import Ears
from guideway.fleet.host import Host
from guideway.fleet.judge import Judge, Judged
from guideway.fleet.lately import Lately
from guideway.fleet.memory import Memory
from guideway.fleet.project import project_keys, project_route
from guideway.fleet.routes import ready, route_of
from guideway.fleet.say import say
from guideway.fleet.scaler import Scaler
from guideway.fleet.since import Since
from guideway.fleet.view import Standing, View, is_spare, spare
from guideway.store import checkpoints, fleet, ledger, releases
from guideway.store.database import Database
from guideway.store.home import Home

BUSY, IDLE = 0.02, 0.2
"""Seconds between two looks, while something is under way and while nothing is."""
TOUCH = 1.0
"""Seconds between two signs of life, at least."""
SWEEP = 60.0
"""Seconds between two looks for replicas that nobody knows."""


class Controller:
    """Acts for every environment of one home. Used by one thread.

    *clock* counts seconds since 1970; *steady* counts seconds too, and never jumps. Slow work runs in *pool*.
    """

    def __init__(
        self,
        home: Home,
        database: Database,
        host: Host,
        gateways: Gateways,
        clock: Clock,
        *,
        steady: Callable[[], float] = time.monotonic,
        pool: Executor | None = None,
    ) -> None:
        self.home, self.database, self.host, self.gateways, self.clock = home, database, host, gateways, clock
        memory = Memory(database, steady)
        self.memory, self.ears = memory, Ears(home, database, memory, steady)
        self.judge = Judge(database, memory, self.ears, clock, steady)
        self.company, self.scaler = Company(memory), Scaler(home, database, clock)
        self.epoch = memory.epoch = fleet.take_epoch(database)
        self.stopping = threading.Event()
        self.steady, self.lately, self.since = steady, Lately(steady), Since(steady, clock())
        self.checkup = Checkup(steady)
        self.hands = Hands(host, gateways, pool or ThreadPoolExecutor(max_workers=16, thread_name_prefix="hands"))
        self._swept, self._touched = steady(), -TOUCH
        self._keyed: set[str] = set()
        self._complaints: dict[str, str] = {}

    def run(self, *, stay: bool = False) -> None:
        """Look and act until told to stop, or, unless it is to *stay*, until every environment is down and quiet."""
        rests = False
        try:
            self._adopt()
            while not self.stopping.is_set():
                if not self.home.has_state:
                    self._abandon()
                    return
                acted = self.once()
                self._touch()
                quiet = not acted and self._all_down()
                if quiet and not rests:
                    self.host.rest()
                if quiet and not stay:
                    return
                rests = quiet
                self.stopping.wait(BUSY if acted or self.hands.busy else IDLE)
        finally:
            self._settle()

    def _touch(self) -> None:
        """Let whoever looks at the lock see that rounds go on."""
        if self.steady() >= self._touched + TOUCH:
            self._touched = self.steady()
            with contextlib.suppress(OSError):
                os.utime(self.home.controller)

    def once(self) -> bool:
        """One round over all environments; did anything happen? What goes wrong in one does not stop the others."""
        happened = False
        try:
            if fleet.current_epoch(self.database) != self.epoch:
                self._take_over()
            happened = self._collect()
            if self.steady() > self._swept + SWEEP:
                self._sweep()
            for state in fleet.environments(self.database):
                happened |= self._round(state)
            if happened:
                checkpoints.keep_up(self.database, self.home, self.clock())
            self._complaints.pop("", None)
        except Exception as error:
            self._complain("", error)
        return happened

    def _take_over(self) -> None:
        """The command line took the fence, or another controller did, that counted and started things meanwhile."""
        self.memory.forget()
        self.epoch = self.memory.epoch = fleet.take_epoch(self.database)
        for state in fleet.environments(self.database):
            self.gateways.adopt(state.name)

    def _round(self, state: EnvironmentState) -> bool:
        happened = False
        try:
            fleet.check_orders(self.database, state.name)
            self._project(state.name)  # first: what workers still follow must not be stopped
            self._bury(state)
            self.ears.hear(state.name)
            view = self._view(state)
            for action in decide(view):
                happened = True
                self._act(state, action)
            if not happened:
                happened = self._judge(state, view)
            self._ask(state.name)
            self._project(state.name)
            self._complaints.pop(state.name, None)
        except Exception as error:
            self._complain(state.name, error)
            return False
        return happened

    def _ask(self, environment: str) -> None:
        """Ask those that start, and now and then those that serve, for a token."""
        for replica in fleet.replicas(self.database, environment):
            if replica.state == "starting" or (replica.state == "ready" and self.checkup.due(replica)):
                self.hands.probe(replica)

    def _complain(self, environment: str, error: Exception) -> None:
        """Say what went wrong, once; the next round tries again."""
        text = str(error) if isinstance(error, GuidewayError) else "".join(traceback.format_exception(error)).rstrip()
        if self._complaints.get(environment) != text:
            self._complaints[environment] = text
            say(f"{environment or 'controller'}: {text}")

    # -- what is -------------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Find what a controller before us had started and not noted when it was killed."""
        for state in fleet.environments(self.database):
            self.gateways.adopt(state.name)
        for replica in fleet.replicas(self.database):
            if not Path(replica.log).is_relative_to(self.home.logs):  # the state was copied; its processes were not
                fleet.drop_replica(self.database, replica.id)
        self._sweep()

    def _sweep(self) -> None:
        """End replicas that nobody knows: whoever started them was killed, or overtaken, before it could note them."""
        self._swept = self.steady()
        known = {one.id for one in fleet.replicas(self.database)} | self.hands.starting
        for stray in self.host.strays(known):
            self.hands.end(stray)

    def _view(self, state: EnvironmentState) -> View:
        name = state.name
        route = fleet.route(self.database, name)
        replicas = tuple(one for one in fleet.replicas(self.database, name) if not self.hands.ends(one.id))
        running = next(iter(fleet.rollouts(self.database, name, running=True, limit=1)), None)
        done = next(iter(fleet.rollouts(self.database, name, phase=Phase.DONE, limit=1)), None)
        return View(
            steady=self.steady(),
            routed=self.lately.routed(route),
            waited=self.since.waited(name, running),
            baked=self.since.baked(name, done),
            state=state,
            route=route,
            rollout=running,
            last_done=done,
            replicas=replicas,
            launching=dict(self.hands.launching(name)),
            deaths=self.lately.deaths(name),
            refused=self.lately.refused(name),
            waits=self.lately.waits,
            starting=self.since.starting(replicas),
            gateway=self.gateways.standing(state, self.database),
            refusal=self.gateways.refusal(name),
            beside=self.judge.beside(running),
            size=self.scaler.size(state, ready(replicas, route)),
        )

    def _bury(self, state: EnvironmentState) -> None:
        """Forget what is gone, and remember that it died unless it was asked to end."""
        for replica in fleet.replicas(self.database, state.name):
            if self.host.alive(replica.process):
                continue
            fleet.drop_replica(self.database, replica.id)
            self.lately.waits.pop(replica.id, None)
            self.checkup.forget(replica.id)
            self.since.forget(replica.id)
            self._unmap(replica.release)
            if replica.state != "stopping":
                words = self.host.last_words(state.name, replica.id)
                self._died(state, replica.release, words, served=replica.state == "ready")
        if self.gateways.buried(state.name) and state.up and not self.hands.ends(gateway_key(state.name)):
            self.lately.died(state.name, "gateway", self.gateways.last_words(state.name))
        self.lately.fade()

    def _died(self, state: EnvironmentState, release: Digest, words: str, *, served: bool = False) -> None:
        """A replica ended unasked, or could not be started. One that a candidate did not need speaks not against it."""
        needless = not served and is_spare(self._view(state), release)
        self.lately.died(state.name, spare(release) if needless else release, words)

    def _unmap(self, release: Digest) -> None:
        running = any(one.release == release for one in fleet.replicas(self.database))
        if not running and not self.hands.starts(release):
            self.host.unmapped(release)

    # -- what is judged ------------------------------------------------------------------------------------------

    def _judge(self, state: EnvironmentState, view: View) -> bool:
        """Judge the canary that runs, and do what follows: the phase, the route and the ledger in one transaction."""
        self.judge.alarm(view.last_done if view.rollout is None else None)
        self.company.keep(state, view)
        judged = self.judge.judge(view, self.company.guards(state.name))
        if judged is None:
            return False
        if not judged.moves:
            self.judge.keep(judged)
            return False
        with self.memory.transaction():
            if not self._is_asked_for(judged):
                return False
            self.judge.settle(judged, view.size)
            self._reroute(state)
        self._project(state.name)
        return True

    def _is_asked_for(self, judged: Judged) -> bool:
        """Is the rollout still as it was judged? The command line may have changed it meanwhile."""
        return fleet.rollout(self.database, judged.rollout.id) == judged.rollout

    def _reroute(self, state: EnvironmentState) -> None:
        """Make the route what it should be by now, inside the caller's transaction."""
        wanted = reroute(self._view(state))
        if wanted:
            self._write_route(state, wanted)

    # -- what is done --------------------------------------------------------------------------------------------

    def _act(self, state: EnvironmentState, action: Action) -> None:
        match action:
            case Start():
                self._start(state, action.release)
            case Stop():
                self._stop(state, action.replica)
            case SetRoute():
                self._set_route(state, action)
            case Move():
                self._move(state, action)
            case StartGateway():
                self._start_gateway(state)
            case ReloadGateway():
                self.gateways.reload(state)
            case RestoreGateway():
                with self._fenced():
                    if not fleet.rollouts(self.database, state.name, running=True):
                        self.gateways.restore(state, self.database)
            case StopGateway():
                self.hands.stop_gateway(state.name)

    def _start(self, state: EnvironmentState, release: Digest) -> None:
        if releases.admission(self.database, release, state.name) is None:
            self.lately.refuse(state.name, release, f"it was never admitted into '{state.name}'")
            return
        self.hands.start(Order(state, release, secrets.token_hex(3), self.clock()))

    def _start_gateway(self, state: EnvironmentState) -> None:
        self._project(state.name)
        fleet.check_epoch(self.database, self.epoch)  # if we slept, another controller may have started one meanwhile
        try:
            self.gateways.start(state)
        except OSError as error:
            self.lately.died(state.name, "gateway", str(error))

    def _stop(self, state: EnvironmentState, id: str) -> None:
        with self._fenced():
            replica = next(one for one in fleet.replicas(self.database, state.name) if one.id == id)
            fleet.put_replica(self.database, msgspec.structs.replace(replica, state="stopping"))
        self.hands.stop(state, replica)

    def _set_route(self, state: EnvironmentState, action: SetRoute) -> None:
        with self._fenced():
            if action.rollout and self._is_over(action.rollout):
                return
            self._write_route(state, action)
        self._project(state.name)

    def _write_route(self, state: EnvironmentState, action: SetRoute) -> None:
        old, replicas = fleet.route(self.database, state.name), fleet.replicas(self.database, state.name)
        route = route_of(state, action, old, replicas, epoch=self.epoch)
        fleet.put_route(self.database, route)
        if not (old and old.stable and old.stable.release == action.release):
            self._log("route", action.release, f"{state.name}, {len(action.endpoints)} replicas")

    def _move(self, state: EnvironmentState, action: Move) -> None:
        with self._fenced():
            rollout = fleet.rollout(self.database, action.rollout)
            if rollout is None or rollout.phase.final:
                return
            reason = action.reason or (rollout.reason if action.phase is Phase.DONE else "")
            size = self.scaler.known(state) if action.phase is Phase.STARTING else rollout.size
            moved = msgspec.structs.replace(rollout, phase=action.phase, updated=self.clock(), reason=reason, size=size)
            fleet.put_rollout(self.database, moved)
            if action.phase is Phase.SWITCHING:
                fleet.take_shape(self.database, moved)
            if action.restore:
                self.gateways.restore(state, self.database)
            if action.phase.final or rollout.phase is Phase.PENDING:
                why = f"{state.name}: {reason}" if reason else state.name
                self._log(f"rollout {action.phase}", rollout.release, why)
            if action.phase.final and rollout.phase.beside:
                self._reroute(state)  # whoever kills us now leaves no traffic on a candidate that failed
        if rollout.phase is Phase.PENDING:  # it starts with a clean slate
            self.lately.forget(state.name, rollout.release, spare(rollout.release), "gateway")
        if action.phase.final:
            self.lately.allow(state.name, rollout.release)

    def _is_over(self, rollout: str) -> bool:
        found = fleet.rollout(self.database, rollout)
        return found is None or found.phase.final

    @contextlib.contextmanager
    def _fenced(self) -> Iterator[None]:
        """A transaction of the one who acts: if we slept, and another controller acts by now, nothing happens."""
        with self.database.transaction():
            fleet.check_epoch(self.database, self.epoch)
            yield

    def _log(self, what: str, subject: str, why: str) -> None:
        ledger.append(self.database, at=self.clock(), who="controller", what=what, subject=subject, why=why)

    def _project(self, environment: str) -> None:
        """Make sure that the files that workers follow say what the rows say: whoever wrote a row may have been killed.

        Keys are projected once, and by whoever changes one; each time where that may be another machine.
        """
        keys = self.home.environment(environment) / "keys.json"
        if environment not in self._keyed or self.home.shared or not keys.exists():
            project_keys(self.home, self.database, environment)
            self._keyed.add(environment)
        route = project_route(self.home, self.database, environment)
        if route:
            self.lately.projected(route)

    # -- what comes back -----------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take the results of slow work that is finished."""
        done = self.hands.done()
        for one in done:
            match one:
                case Started():
                    self._started(one)
                case Probed():
                    self._probed(one)
                case Ended():
                    self._ended(one)
        return bool(done)

    def _started(self, done: Started) -> None:
        state, release, id, ordered = done.order
        if done.made is None:
            words = str(done.error) or type(done.error).__name__
            if isinstance(done.error, Corrupt | Refused | SpecError):
                self.lately.refuse(state.name, release, words)
            else:
                self._died(state, release, words)
            return
        launch, process = done.made
        log, asks = str(self.host.log(state.name, id)), (launch.probe, launch.terms)
        row = Replica(id, state.name, release, launch.port, process, "starting", log, ordered, *asks)
        try:
            fleet.put_replica(self.database, row)
        except Exception:  # what cannot be written down must not run
            self.hands.stop(state, row)
            raise

    def _probed(self, done: Probed) -> None:
        replica = self._replica(done.replica)
        if replica is None:
            return
        if replica.state == "ready":
            if self.checkup.hopeless(replica, done.result):
                say(f"replica {replica.id} is ended: {done.result.why}")
                self.hands.end(replica.process)
            return
        self.lately.waits[replica.id] = done.result.why
        if done.result.ready:
            self._became_ready(replica.id)

    def _became_ready(self, id: str) -> None:
        with self._fenced():
            replica = self._replica(id)
            if replica and replica.state == "starting":
                fleet.put_replica(self.database, msgspec.structs.replace(replica, state="ready"))
                self._started_in(replica)

    def _replica(self, id: str) -> Replica | None:
        return next((one for one in fleet.replicas(self.database) if one.id == id), None)

    def _started_in(self, replica: Replica) -> None:
        state = fleet.environment(self.database, replica.environment)
        if state:
            self.scaler.started(state, self.clock() - replica.since)

    def _ended(self, done: Ended) -> None:
        if done.error:
            say(f"stopping {done.key}: {done.error}")
        for state in fleet.environments(self.database):
            if done.key == gateway_key(state.name):
                self.gateways.buried(state.name)  # it was asked to go: this is no death

    # -- when it ends --------------------------------------------------------------------------------------------

    def _all_down(self) -> bool:
        if self.hands.busy or wanted(self.database) or fleet.replicas(self.database):
            return False
        states = fleet.environments(self.database)
        return all(self.gateways.standing(state, self.database) is Standing.NONE for state in states)

    def _abandon(self) -> None:
        """Somebody deleted the state: nobody could find what runs any more, so it must not go on."""
        say("the state folder is gone: ending everything that it knew")
        for state in fleet.environments(self.database):
            for replica in fleet.replicas(self.database, state.name):
                self.hands.stop(state, replica)
            self.hands.stop_gateway(state.name)
        self.hands.wait()

    def _settle(self) -> None:
        """Write down what was being started, so that the next controller knows it; then let go."""
        self.company.close()
        for started in self.hands.let_go():
            self._started(started)


def wanted(database: Database) -> bool:
    """Is there anything that a controller should see to?"""
    up = any(state.up for state in fleet.environments(database))
    return up or bool(fleet.rollouts(database, running=True))
