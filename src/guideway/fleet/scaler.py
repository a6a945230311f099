"""How many replicas there should be: what the workers tell of their load, and what follows from it, written down."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from guideway.core.load import Load
from guideway.core.protocols import Clock
from guideway.core.rollout import EnvironmentState
from guideway.core.spec.scale import Scale
from guideway.fleet.judge import plain
from guideway.rollout.autoscale import Decision, Rules, State, decide
from guideway.rollout.load import reading_of
from guideway.rollout.starts import LAST, cold_start
from guideway.store import canaries, ledger
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.store.load import FOLDER, read_load

LOOK, ASLEEP = 5.0, 0.25
"""Seconds between two decisions, and while there is no replica and the next request waits for one."""
WRITE = 30.0
"""Seconds after which what changes nothing is written down."""


class Scaling(msgspec.Struct):
    """What is known of one environment: the state of the rule, the seconds that starts took, and the last reason."""

    state: State
    starts: list[float] = msgspec.field(default_factory=list)
    rule: str = ""
    reason: str = ""


class Scaler:
    """Decides for all environments of one home; used by the controller's thread alone. *clock*: seconds since 1970."""

    def __init__(
        self,
        home: Home,
        database: Database,
        clock: Clock,
        read: Callable[[EnvironmentState, float], Load] | None = None,
    ) -> None:
        self._home, self._database, self._clock = home, database, clock
        self._read = read or self._told
        self._known: dict[str, Scaling] = {}
        self._looked: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def size(self, state: EnvironmentState, ready: int) -> int | None:
        """How many replicas a release should have, *ready* being those that serve; None: a fixed number."""
        scale = state.scale
        if scale is None:
            return None
        known, now = self._of(state, scale), self._clock()
        pause = LOOK if known.state.wanted else ASLEEP
        if abs(now - self._looked.get(state.name, -LOOK)) >= pause:
            self._looked[state.name] = now
            self._decide(state, scale, known, ready)
        return self._of(state, scale).state.wanted

    def known(self, state: EnvironmentState) -> int | None:
        """The number that was decided last; None: a fixed one."""
        return self._of(state, state.scale).state.wanted if state.scale else None

    def started(self, state: EnvironmentState, seconds: float) -> None:
        """A replica took so long from the order to its first token."""
        if state.scale is not None:
            known = self._of(state, state.scale)
            known.starts = [*known.starts, seconds][-LAST:]

    def _decide(self, state: EnvironmentState, scale: Scale, known: Scaling, ready: int) -> None:
        now = self._clock()
        told = self._read(state, now)
        reading = reading_of(told, now, ready=ready, cold_start=cold_start(known.starts), batch=scale.batches)
        decision = decide(known.state, reading, rules_of(scale, state.gateway.admission.concurrent))
        if decision.changed or now > self._written.get(state.name, 0.0) + WRITE:
            self._write(state, known, decision)
        known.state, known.rule, known.reason = decision.state, decision.rule, decision.reason

    def _write(self, state: EnvironmentState, known: Scaling, decision: Decision) -> None:
        """The state, and a change in the ledger with the numbers that made it, in one transaction."""
        self._written[state.name] = self._clock()
        after = Scaling(decision.state, known.starts, decision.rule, decision.reason)
        with self._database.transaction():
            canaries.put_scaling(self._database, state.name, after)
            if decision.changed:
                ledger.append(
                    self._database,
                    at=self._clock(),
                    who="controller",
                    what="scale",
                    subject=state.name,
                    why=f"{decision.before} to {decision.wanted}, {decision.rule}: {decision.reason}",
                    data={"numbers": plain(decision.numbers)} if decision.numbers else {},
                )

    def _of(self, state: EnvironmentState, scale: Scale) -> Scaling:
        known = self._known.get(state.name)
        if known is None:
            known = canaries.scaling(self._database, state.name, Scaling)
            known = known or Scaling(State(min(max(state.replicas, scale.min), scale.max)))
            self._known[state.name] = known
        return known

    def _told(self, state: EnvironmentState, now: float) -> Load:
        return read_load(self._home.environment(state.name) / FOLDER, now)


def rules_of(scale: Scale, places: int) -> Rules:
    """The rules that an environment asks for; a replica works on *places* requests at once."""
    return Rules(
        min=scale.min,
        max=scale.max,
        places=places,
        target=scale.target,
        queue=scale.queue,
        late=scale.late,
        settle=scale.settle,
        changes=scale.changes,
        wake=scale.wake,
        batch=scale.batches,
    )
