"""The controller: look at the rows, decide, act, again. Kill it at any moment; the next one goes on from the rows."""

from __future__ import annotations

import contextlib
import os

from guideway.core.rollout import EnvironmentState
from guideway.fleet.acting import Acting
from guideway.fleet.decide import decide
from guideway.fleet.hands import Ended, Probed, Started, gateway_key
from guideway.fleet.judge import Judged
from guideway.fleet.say import say
from guideway.fleet.view import Standing, View
from guideway.store import checkpoints, fleet
from guideway.store.database import Database

BUSY, IDLE = 0.02, 0.2
"""Seconds between two looks, while something is under way and while nothing is."""
TOUCH = 1.0
"""Seconds between two signs of life, at least."""
SWEEP = 60.0
"""Seconds between two looks for replicas that nobody knows."""


class Controller(Acting):
    """Acts for every environment of one home. Used by one thread. The arguments are those of `Means`."""

    _touched = -TOUCH

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
            if self.steady() > self.replicas.swept + SWEEP:
                self.replicas.sweep()
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
            self.replicas.ask(state.name)
            self._project(state.name)
            self._complaints.pop(state.name, None)
        except Exception as error:
            self._complain(state.name, error)
            return False
        return happened

    # -- what is -------------------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Find what a controller before us had started and not noted when it was killed."""
        for state in fleet.environments(self.database):
            self.gateways.adopt(state.name)
        self.replicas.adopt()

    def _bury(self, state: EnvironmentState) -> None:
        """Forget what is gone, and remember that it died unless it was asked to end."""
        self.replicas.bury(state)
        if self.gateways.buried(state.name) and state.up and not self.hands.ends(gateway_key(state.name)):
            self.lately.died(state.name, "gateway", self.gateways.last_words(state.name))
        self.lately.fade()

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

    # -- what comes back -----------------------------------------------------------------------------------------

    def _collect(self) -> bool:
        """Take the results of slow work that is finished."""
        done = self.hands.done()
        for one in done:
            match one:
                case Started():
                    self.replicas.started(one)
                case Probed():
                    self.replicas.probed(one)
                case Ended():
                    self._ended(one)
        return bool(done)

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
            self.replicas.started(started)


def wanted(database: Database) -> bool:
    """Is there anything that a controller should see to?"""
    up = any(state.up for state in fleet.environments(database))
    return up or bool(fleet.rollouts(database, running=True))
