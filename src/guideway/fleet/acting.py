"""What a controller does about one environment: it sees how that stands, and does what was decided."""

from __future__ import annotations

from functools import cached_property

import msgspec

from guideway.core.rollout import EnvironmentState, Phase
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
    reroute,
)
from guideway.fleet.means import Means
from guideway.fleet.project import project_keys, project_route
from guideway.fleet.replicas import Replicas
from guideway.fleet.routes import ready, route_of
from guideway.fleet.view import View, spare
from guideway.store import fleet, ledger


class Acting(Means):
    """Sees and acts; when is the controller's to say. The arguments are those of `Means`."""

    _keyed: frozenset[str] = frozenset()

    @cached_property
    def replicas(self) -> Replicas:
        """Their life, of every environment."""
        return Replicas(self, self._view)

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

    def _act(self, state: EnvironmentState, action: Action) -> None:
        match action:
            case Start():
                self.replicas.start(state, action.release)
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
                with self.fenced():
                    if not fleet.rollouts(self.database, state.name, running=True):
                        self.gateways.restore(state, self.database)
            case StopGateway():
                self.hands.stop_gateway(state.name)

    def _start_gateway(self, state: EnvironmentState) -> None:
        self._project(state.name)
        fleet.check_epoch(self.database, self.epoch)  # if we slept, another controller may have started one meanwhile
        try:
            self.gateways.start(state)
        except OSError as error:
            self.lately.died(state.name, "gateway", str(error))

    def _stop(self, state: EnvironmentState, id: str) -> None:
        self.replicas.stop(state, id)

    def _set_route(self, state: EnvironmentState, action: SetRoute) -> None:
        with self.fenced():
            if action.rollout and self._is_over(action.rollout):
                return
            self._write_route(state, action)
        self._project(state.name)

    def _reroute(self, state: EnvironmentState) -> None:
        """Make the route what it should be by now, inside the caller's transaction."""
        wanted = reroute(self._view(state))
        if wanted:
            self._write_route(state, wanted)

    def _write_route(self, state: EnvironmentState, action: SetRoute) -> None:
        old, replicas = fleet.route(self.database, state.name), fleet.replicas(self.database, state.name)
        route = route_of(state, action, old, replicas, epoch=self.epoch)
        fleet.put_route(self.database, route)
        if not (old and old.stable and old.stable.release == action.release):
            self._log("route", action.release, f"{state.name}, {len(action.endpoints)} replicas")

    def _move(self, state: EnvironmentState, action: Move) -> None:
        with self.fenced():
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

    def _log(self, what: str, subject: str, why: str) -> None:
        ledger.append(self.database, at=self.clock(), who="controller", what=what, subject=subject, why=why)

    def _project(self, environment: str) -> None:
        """Make sure that the files that workers follow say what the rows say: whoever wrote a row may have been killed.

        Keys are projected once, and by whoever changes one; each time where that may be another machine.
        """
        keys = self.home.environment(environment) / "keys.json"
        if environment not in self._keyed or self.home.shared or not keys.exists():
            project_keys(self.home, self.database, environment)
            self._keyed |= {environment}
        route = project_route(self.home, self.database, environment)
        if route:
            self.lately.projected(route)
