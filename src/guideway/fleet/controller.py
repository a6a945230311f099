"""The controller: look at the rows, decide, act, again. Kill it at any moment; the next one goes on from the rows."""

from __future__ import annotations

import secrets
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt, GuidewayError, Refused, SpecError
from guideway.core.launch import Launch, Process, Replica
from guideway.core.protocols import Clock
from guideway.core.rollout import EnvironmentState, Phase
from guideway.core.route import Arm, Endpoint, Route
from guideway.fleet.company import Company
from guideway.fleet.decide import (
    Action,
    Death,
    Move,
    ReloadGateway,
    RestoreGateway,
    SetRoute,
    Standing,
    Start,
    StartGateway,
    Stop,
    StopGateway,
    View,
    decide,
    reroute,
)
from guideway.fleet.gateways import Gateways
from guideway.fleet.hear import Ears
from guideway.fleet.host import Host
from guideway.fleet.judge import Judge, Judged
from guideway.fleet.memory import Memory
from guideway.fleet.project import project_keys, project_route
from guideway.fleet.scaler import Scaler
from guideway.kit.process import is_alive, last_words, terminate
from guideway.store import checkpoints, fleet, ledger, releases
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.targets.probe import ProbeResult

BUSY, IDLE = 0.02, 0.2
"""Seconds between two looks, while something is under way and while nothing is."""
FADE = 60.0
"""Seconds without another death after which earlier ones no longer count."""
REFUSED_FOR = 30.0
"""Seconds until a release that must not run is looked at again: somebody may have repaired it."""


class _Order(NamedTuple):
    """A replica that is being started, and when that was ordered."""

    state: EnvironmentState
    release: Digest
    id: str
    at: float


class Controller:
    """Acts for every environment of one home. Used by one thread; slow work runs in a pool.

    *clock* counts seconds since 1970; *steady* counts seconds too, and never jumps.
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
    ) -> None:
        self.home, self.database, self.host, self.gateways, self.clock = home, database, host, gateways, clock
        memory = Memory(database, steady)
        self.memory, self.ears = memory, Ears(home, database, memory, steady)
        self.judge = Judge(database, memory, self.ears, clock, steady)
        self.company, self.scaler = Company(memory), Scaler(home, database, clock)
        self.epoch = fleet.take_epoch(database)
        self.began = clock()
        self.stopping = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="hands")
        self._starts: dict[Future[tuple[Launch, Process]], _Order] = {}
        self._probing: dict[Future[ProbeResult], str] = {}
        self._ending: dict[str, Future[Any]] = {}
        self._deaths: dict[tuple[str, str], Death] = {}
        self._refused: dict[tuple[str, Digest], tuple[str, float]] = {}
        self._waits: dict[str, str] = {}
        self._routed: dict[str, tuple[int, int, float]] = {}
        self._keyed: set[str] = set()
        self._complaints: dict[str, str] = {}

    def run(self) -> None:
        """Look and act until told to stop, or until every environment is down and quiet."""
        try:
            self._adopt()
            while not self.stopping.is_set():
                if not self.home.has_state:
                    self._abandon()
                    return
                acted = self.once()
                if not acted and self._all_down():
                    self.host.rest()
                    return
                self.stopping.wait(BUSY if acted or self._under_way() else IDLE)
        finally:
            self._settle()

    def once(self) -> bool:
        """One round over all environments; did anything happen? What goes wrong in one does not stop the others."""
        happened = False
        try:
            if fleet.current_epoch(self.database) != self.epoch:  # a rollback from the command line took the fence
                self.epoch = fleet.take_epoch(self.database)
            happened = self._collect()
            for state in fleet.environments(self.database):
                happened |= self._round(state)
            if happened:
                checkpoints.keep_up(self.database, self.home, self.clock())
            self._complaints.pop("", None)
        except Exception as error:
            self._complain("", error)
        return happened

    def _round(self, state: EnvironmentState) -> bool:
        happened = False
        try:
            self._bury(state)
            self.ears.hear(state.name)
            view = self._view(state)
            for action in decide(view):
                happened = True
                self._act(state, action)
            if not happened:
                happened = self._judge(state, view)
            self._probe_starting(state.name)
            self._project(state.name)
            self._complaints.pop(state.name, None)
        except Exception as error:
            self._complain(state.name, error)
            return False
        return happened

    def _complain(self, environment: str, error: Exception) -> None:
        """Say what went wrong, once; the next round tries again."""
        text = str(error) if isinstance(error, GuidewayError) else "".join(traceback.format_exception(error)).rstrip()
        if self._complaints.get(environment) != text:
            self._complaints[environment] = text
            sys.stderr.write(f"{environment or 'controller'}: {text}\n")
            sys.stderr.flush()

    # -- what is -------------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Find what a controller before us had started and not noted when it was killed."""
        for state in fleet.environments(self.database):
            self.gateways.adopt(state.name)
        for replica in fleet.replicas(self.database):
            if not Path(replica.log).is_relative_to(self.home.logs):  # the state was copied; its processes were not
                fleet.drop_replica(self.database, replica.id)
        for stray in self.host.strays({one.id for one in fleet.replicas(self.database)}):
            self._pool.submit(terminate, stray.pid, stray.started, 0.0)

    def _view(self, state: EnvironmentState) -> View:
        name, now = state.name, self.clock()
        rollouts = fleet.rollouts(self.database, name)
        route = fleet.route(self.database, name)
        replicas = tuple(one for one in fleet.replicas(self.database, name) if one.id not in self._ending)
        running = next((one for one in rollouts if not one.phase.final), None)
        launching = Counter(one.release for one in self._starts.values() if one.state.name == name)
        return View(
            now=now,
            began=self.began,
            routed=self._route_changed(route, now),
            state=state,
            route=route,
            rollout=running,
            last_done=next((one for one in rollouts if one.phase is Phase.DONE), None),
            replicas=replicas,
            launching=dict(launching),
            deaths={what: death for (where, what), death in self._deaths.items() if where == name},
            refused={
                what: why
                for (where, what), (why, at) in self._refused.items()
                if where == name and now < at + REFUSED_FOR
            },
            waits=self._waits,
            gateway=self.gateways.standing(state, self.database),
            beside=self.judge.beside(running),
            size=self.scaler.size(state, _ready(replicas, route)),
            refusal=self.gateways.refusal(state.name),
        )

    def _route_changed(self, route: Route | None, now: float) -> float:
        """When we first saw the route as it is."""
        if route is None:
            return self.began
        epoch, revision, since = self._routed.get(route.environment, (0, 0, now))
        if (epoch, revision) != (route.epoch, route.revision):
            since = now
        self._routed[route.environment] = (route.epoch, route.revision, since)
        return since

    def _bury(self, state: EnvironmentState) -> None:
        """Forget what is gone, and remember that it died unless it was asked to end."""
        for replica in fleet.replicas(self.database, state.name):
            if is_alive(replica.process.pid, replica.process.started):
                continue
            fleet.drop_replica(self.database, replica.id)
            self._waits.pop(replica.id, None)
            self._unmap(replica.release)
            if replica.state != "stopping":
                self._died(state.name, replica.release, last_words(self.host.log(state.name, replica.id)))
        if self.gateways.buried(state.name) and state.up and _gateway_key(state.name) not in self._ending:
            self._died(state.name, "gateway", self.gateways.last_words(state.name))
        for what, death in tuple(self._deaths.items()):
            if self.clock() > death.at + FADE:
                del self._deaths[what]

    def _unmap(self, release: Digest) -> None:
        running = any(one.release == release for one in fleet.replicas(self.database))
        if not running and not any(one.release == release for one in self._starts.values()):
            self.host.unmapped(release)

    def _died(self, environment: str, what: str, words: str) -> None:
        before = self._deaths.get((environment, what))
        self._deaths[environment, what] = Death(before.count + 1 if before else 1, self.clock(), words)

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
            self.judge.settle(judged)
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
                with self.database.transaction():
                    if not fleet.rollouts(self.database, state.name, running=True):
                        self.gateways.restore(state, self.database)
            case StopGateway():
                key = _gateway_key(state.name)
                if key not in self._ending:
                    self._ending[key] = self._pool.submit(self.gateways.stop, state.name)

    def _start(self, state: EnvironmentState, release: Digest) -> None:
        if releases.admission(self.database, release, state.name) is None:
            self._refused[state.name, release] = (f"it was never admitted into '{state.name}'", self.clock())
            return
        id = secrets.token_hex(3)
        order = _Order(state, release, id, self.clock())
        self._starts[self._pool.submit(self.host.start, state, release, id)] = order

    def _start_gateway(self, state: EnvironmentState) -> None:
        self._project(state.name)
        try:
            self.gateways.start(state)
        except OSError as error:
            self._died(state.name, "gateway", str(error))

    def _stop(self, state: EnvironmentState, id: str) -> None:
        replica = next(one for one in fleet.replicas(self.database, state.name) if one.id == id)
        fleet.put_replica(self.database, msgspec.structs.replace(replica, state="stopping"))
        self._ending[id] = self._pool.submit(self.host.stop, state, replica)

    def _set_route(self, state: EnvironmentState, action: SetRoute) -> None:
        with self.database.transaction():
            if action.rollout and self._is_over(action.rollout):
                return
            route = self._write_route(state, action)
        project_route(self.home, route)

    def _write_route(self, state: EnvironmentState, action: SetRoute) -> Route:
        old, candidate = fleet.route(self.database, state.name), action.candidate
        replicas = fleet.replicas(self.database, state.name)
        route = Route(
            environment=state.name,
            model=state.model,
            revision=old.revision + 1 if old else 1,
            epoch=self.epoch,
            stable=_arm(action.release, action.endpoints, replicas),
            wakes=state.scale.wake if state.up and state.scale and not state.scale.min else 0.0,
        )
        if candidate:
            beside = candidate.beside
            route = msgspec.structs.replace(
                route,
                candidate=_arm(candidate.release, candidate.endpoints, replicas),
                weight=beside.weight,
                rollout=candidate.rollout,
                unit=beside.unit,
                shadow=beside.shadow,
                limits=beside.limits,
            )
        fleet.put_route(self.database, route)
        if not (old and old.stable and old.stable.release == action.release):
            self._log("route", action.release, f"{state.name}, {len(action.endpoints)} replicas")
        return route

    def _move(self, state: EnvironmentState, action: Move) -> None:
        with self.database.transaction():
            rollout = fleet.rollout(self.database, action.rollout)
            if rollout is None or rollout.phase.final:
                return
            reason = action.reason or (rollout.reason if action.phase is Phase.DONE else "")
            moved = msgspec.structs.replace(rollout, phase=action.phase, updated=self.clock(), reason=reason)
            fleet.put_rollout(self.database, moved)
            if action.restore:
                self.gateways.restore(state, self.database)
            if action.phase.final or rollout.phase is Phase.PENDING:
                why = f"{state.name}: {reason}" if reason else state.name
                self._log(f"rollout {action.phase}", rollout.release, why)
            if action.phase.final and rollout.phase.beside:
                self._reroute(state)  # whoever kills us now leaves no traffic on a candidate that failed
        if rollout.phase is Phase.PENDING:  # it starts with a clean slate
            for what in (rollout.release, "gateway"):
                self._deaths.pop((state.name, what), None)
        if action.phase.final:
            self._refused.pop((state.name, rollout.release), None)

    def _is_over(self, rollout: str) -> bool:
        found = fleet.rollout(self.database, rollout)
        return found is None or found.phase.final

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
        route = fleet.route(self.database, environment)
        if route:
            project_route(self.home, route)

    # -- what comes back -----------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take the results of slow work that is finished."""
        started = [future for future in self._starts if future.done()]
        probed = [future for future in self._probing if future.done()]
        ended = [key for key, future in self._ending.items() if future.done()]
        for start in started:
            self._started(start)
        for probe in probed:
            self._probed(probe)
        for key in ended:
            self._ended(key)
        return bool(started or probed or ended)

    def _started(self, future: Future[tuple[Launch, Process]]) -> None:
        state, release, id, ordered = self._starts.pop(future)
        try:
            launch, process = future.result()
        except (Corrupt, Refused, SpecError) as error:
            self._refused[state.name, release] = (str(error), self.clock())
        except Exception as error:
            self._died(state.name, release, str(error) or type(error).__name__)
        else:
            log = str(self.host.log(state.name, id))
            row = Replica(
                id, state.name, release, launch.port, process, "starting", log, ordered, launch.probe, launch.terms
            )
            try:
                fleet.put_replica(self.database, row)
            except Exception:  # what cannot be written down must not run
                self._pool.submit(self.host.stop, state, row)
                raise

    def _probe_starting(self, environment: str) -> None:
        """Ask every starting replica for a token, one question at a time each."""
        busy = {*self._probing.values(), *self._ending}
        for replica in fleet.replicas(self.database, environment):
            if replica.state == "starting" and replica.id not in busy and replica.probe:
                self._probing[self._pool.submit(self.host.probe, replica.port, replica.probe)] = replica.id

    def _probed(self, future: Future[ProbeResult]) -> None:
        id, result = self._probing.pop(future), future.result()
        for replica in fleet.replicas(self.database):
            if replica.id == id and replica.state == "starting":
                self._waits[id] = result.why
                if result.ready:
                    fleet.put_replica(self.database, msgspec.structs.replace(replica, state="ready"))
                    self._started_in(replica)

    def _started_in(self, replica: Replica) -> None:
        state = fleet.environment(self.database, replica.environment)
        if state:
            self.scaler.started(state, self.clock() - replica.since)

    def _ended(self, key: str) -> None:
        error = self._ending.pop(key).exception()
        if error:
            sys.stderr.write(f"stopping {key}: {error}\n")
        for state in fleet.environments(self.database):
            if key == _gateway_key(state.name):
                self.gateways.buried(state.name)  # it was asked to go: this is no death

    # -- when it ends --------------------------------------------------------------------------------------------

    def _under_way(self) -> bool:
        return bool(self._starts or self._probing or self._ending)

    def _all_down(self) -> bool:
        if self._under_way() or wanted(self.database) or fleet.replicas(self.database):
            return False
        states = fleet.environments(self.database)
        return all(self.gateways.standing(state, self.database) is Standing.NONE for state in states)

    def _abandon(self) -> None:
        """Somebody deleted the state: nobody could find what runs any more, so it must not go on."""
        sys.stderr.write("the state folder is gone: ending everything that it knew\n")
        ending = []
        for state in fleet.environments(self.database):
            replicas = fleet.replicas(self.database, state.name)
            ending += [self._pool.submit(self.host.stop, state, replica) for replica in replicas]
            ending.append(self._pool.submit(self.gateways.stop, state.name))
        for future in ending:
            future.exception()

    def _settle(self) -> None:
        """Write down what was being started, so that the next controller knows it; then let go."""
        for future in tuple(self._starts):
            future.exception()
            self._started(future)
        self.company.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


def wanted(database: Database) -> bool:
    """Is there anything that a controller should see to?"""
    up = any(state.up for state in fleet.environments(database))
    return up or bool(fleet.rollouts(database, running=True))


def _gateway_key(environment: str) -> str:
    return f"gateway of {environment}"


def _ready(replicas: Iterable[Replica], route: Route | None) -> int:
    """Replicas of the stable release that serve."""
    stable = route.stable.release if route and route.stable else None
    return sum(one.release == stable and one.state == "ready" for one in replicas)


def _arm(release: Digest, endpoints: tuple[Endpoint, ...], replicas: list[Replica]) -> Arm:
    """The arm of *release*, with what its replicas know of it."""
    known = next((one for one in replicas if one.release == release and one.state == "ready"), None)
    return Arm(release, endpoints, known.terms, known.probe) if known else Arm(release, endpoints)
