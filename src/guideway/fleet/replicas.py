"""The life of replicas: ordered, noted when they start, asked until they are ready, stopped, buried."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from guideway.core.artifact import Digest
from guideway.core.errors import Corrupt, Refused, SpecError
from guideway.core.launch import Replica
from guideway.core.rollout import EnvironmentState
from guideway.fleet.hands import Order, Probed, Started
from guideway.fleet.means import Means
from guideway.fleet.say import say
from guideway.fleet.view import View, is_spare, spare
from guideway.store import fleet, releases


class Replicas:
    """The replicas of every environment of one home, through the *means* of its controller; used by its thread alone.

    *view* says how an environment stands now.
    """

    def __init__(self, means: Means, view: Callable[[EnvironmentState], View]) -> None:
        self._means, self._view, self._database = means, view, means.database
        self.swept = means.steady()

    # -- those that were there before, and those that are gone -------------------------------------------------------

    def adopt(self) -> None:
        """Forget those that run elsewhere, and end those that the controller before had not noted."""
        for replica in fleet.replicas(self._database):
            if not Path(replica.log).is_relative_to(self._means.home.logs):  # the state was copied, no process was
                fleet.drop_replica(self._database, replica.id)
        self.sweep()

    def sweep(self) -> None:
        """End replicas that nobody knows: whoever started them was killed, or overtaken, before it could note them."""
        hands = self._means.hands
        self.swept = self._means.steady()
        known = {one.id for one in fleet.replicas(self._database)} | hands.starting
        for stray in self._means.host.strays(known):
            hands.end(stray)

    def bury(self, state: EnvironmentState) -> None:
        """Forget those that are gone, and remember that they died unless they were asked to end."""
        means = self._means
        for replica in fleet.replicas(self._database, state.name):
            if means.host.alive(replica.process):
                continue
            fleet.drop_replica(self._database, replica.id)
            means.lately.waits.pop(replica.id, None)
            means.checkup.forget(replica.id)
            means.since.forget(replica.id)
            self._unmap(replica.release)
            if replica.state != "stopping":
                words = means.host.last_words(state.name, replica.id)
                self._died(state, replica.release, words, served=replica.state == "ready")

    def _died(self, state: EnvironmentState, release: Digest, words: str, *, served: bool = False) -> None:
        """A replica ended unasked, or could not be started. One that a candidate did not need speaks not against it."""
        needless = not served and is_spare(self._view(state), release)
        self._means.lately.died(state.name, spare(release) if needless else release, words)

    def _unmap(self, release: Digest) -> None:
        running = any(one.release == release for one in fleet.replicas(self._database))
        if not running and not self._means.hands.starts(release):
            self._means.host.unmapped(release)

    # -- what is asked of them ---------------------------------------------------------------------------------------

    def start(self, state: EnvironmentState, release: Digest) -> None:
        """Order a replica of *release*, unless that was never admitted."""
        if releases.admission(self._database, release, state.name) is None:
            self._means.lately.refuse(state.name, release, f"it was never admitted into '{state.name}'")
            return
        self._means.hands.start(Order(state, release, secrets.token_hex(3), self._means.clock()))

    def stop(self, state: EnvironmentState, id: str) -> None:
        """Ask a replica to end.

        Raises:
            Unavailable: another controller acts.
        """
        with self._means.fenced():
            replica = next(one for one in fleet.replicas(self._database, state.name) if one.id == id)
            fleet.put_replica(self._database, msgspec.structs.replace(replica, state="stopping"))
        self._means.hands.stop(state, replica)

    def ask(self, environment: str) -> None:
        """Ask those that start, and now and then those that serve, for a token."""
        for replica in fleet.replicas(self._database, environment):
            if replica.state == "starting" or (replica.state == "ready" and self._means.checkup.due(replica)):
                self._means.hands.probe(replica)

    # -- what came of it ---------------------------------------------------------------------------------------------

    def started(self, done: Started) -> None:
        """Note a replica that was started, or why it was not."""
        means = self._means
        state, release, id, ordered = done.order
        if done.made is None:
            words = str(done.error) or type(done.error).__name__
            if isinstance(done.error, Corrupt | Refused | SpecError):
                means.lately.refuse(state.name, release, words)
            else:
                self._died(state, release, words)
            return
        launch, process = done.made
        log, asks = str(means.host.log(state.name, id)), (launch.probe, launch.terms)
        row = Replica(id, state.name, release, launch.port, process, "starting", log, ordered, *asks)
        try:
            fleet.put_replica(self._database, row)
        except Exception:  # what cannot be written down must not run
            means.hands.stop(state, row)
            raise

    def probed(self, done: Probed) -> None:
        """Heed what a replica answered: it is ready, or not yet, or served and is hopeless now.

        Raises:
            Unavailable: another controller acts.
        """
        replica = self._replica(done.replica)
        if replica is None:
            return
        if replica.state == "ready":
            if self._means.checkup.hopeless(replica, done.result):
                say(f"replica {replica.id} is ended: {done.result.why}")
                self._means.hands.end(replica.process)
            return
        self._means.lately.waits[replica.id] = done.result.why
        if done.result.ready:
            self._became_ready(replica.id)

    def _became_ready(self, id: str) -> None:
        with self._means.fenced():
            replica = self._replica(id)
            if replica and replica.state == "starting":
                fleet.put_replica(self._database, msgspec.structs.replace(replica, state="ready"))
                self._started_in(replica)

    def _replica(self, id: str) -> Replica | None:
        return next((one for one in fleet.replicas(self._database) if one.id == id), None)

    def _started_in(self, replica: Replica) -> None:
        state = fleet.environment(self._database, replica.environment)
        if state:
            self._means.scaler.started(state, self._means.clock() - replica.since)
