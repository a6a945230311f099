"""What is known of canaries and of the releases that serve: rows, kept in memory by the one who acts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec

from guideway.core.rollout import Rollout
from guideway.rollout.baseline import Baseline
from guideway.rollout.canary import Canary
from guideway.rollout.signals import Limits
from guideway.store import canaries, fleet
from guideway.store.database import Database

LOOKED_BACK = 200
"""Rollouts of an environment among which an earlier one of the same pair is looked for."""
T = TypeVar("T")


class Watch(msgspec.Struct):
    """What one controller saw of one rollout, in seconds of a clock that never jumps: it is never written down.

    ``at`` is its last look, ``written`` when the canary was last written, ``unit`` when the last unit was heard of;
    for ``unready`` seconds the candidate did not have the replicas that it needs.
    """

    at: float
    written: float
    unready: float = 0.0
    unit: float | None = None


class Memory:
    """Canaries by their rollouts and baselines by their environments; *steady* is a clock that never jumps.

    ``epoch`` is that of the controller that remembers: once a later one acts, what is remembered here may be old.
    """

    def __init__(self, database: Database, steady: Callable[[], float]) -> None:
        self.epoch: int | None = None
        self._database, self._steady = database, steady
        self._canaries: dict[str, Canary] = {}
        self._baselines: dict[str, Baseline] = {}
        self._watches: dict[str, Watch] = {}

    def canary(self, rollout: Rollout) -> Canary | None:
        """The canary of *rollout*; None: it has not begun."""
        return _kept(self._canaries, rollout.id, lambda: canaries.canary(self._database, rollout.id, Canary))

    def begun(self, rollout: Rollout) -> Canary:
        """The canary of *rollout*, begun if need be: with the evidence that an earlier one of the same pair left."""
        known = self.canary(rollout)
        if known is None:
            known = self._canaries[rollout.id] = inherited(self._database, rollout)
        return known

    def baseline(self, environment: str) -> Baseline:
        """What the release that serves in *environment* did lately."""
        found = _kept(
            self._baselines, environment, lambda: canaries.baseline(self._database, environment, Baseline) or Baseline()
        )
        assert found is not None
        return found

    def watch(self, rollout: Rollout) -> Watch:
        """What we saw of *rollout*."""
        now = self._steady()
        return self._watches.setdefault(rollout.id, Watch(now, now))

    def write(self, rollout: Rollout, known: Canary) -> None:
        """Write down the canary of *rollout*."""
        canaries.put_canary(self._database, rollout.id, rollout.environment, known)
        self.watch(rollout).written = self._steady()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """What is changed inside is written, or forgotten: when it fails, memory must not say more than the rows.

        Raises:
            Unavailable: somebody with a later epoch acts now, who has read on and counted.
        """
        try:
            with self._database.transaction():
                if self.epoch is not None:
                    fleet.check_epoch(self._database, self.epoch)
                yield
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Look at the rows again before anything else is said: somebody else may have written them."""
        self._canaries.clear()
        self._baselines.clear()


def inherited(database: Database, rollout: Rollout) -> Canary:
    """A canary for *rollout*. A retry of the same pair keeps the evidence, unless a person asked for a fresh start."""
    for earlier in fleet.rollouts(database, rollout.environment, limit=LOOKED_BACK):
        same = (earlier.release, earlier.previous) == (rollout.release, rollout.previous)
        if rollout.afresh or earlier.id == rollout.id or not same:
            continue
        known = canaries.canary(database, earlier.id, Canary)
        if known is not None:
            known.scores.again()
            known.scores.limits = Limits()  # drawn anew: the service may do other things by now
            return Canary(scores=known.scores)
        if earlier.afresh:
            break
    return Canary()


def _kept(kept: dict[str, T], key: str, read: Callable[[], T | None]) -> T | None:
    """The value at *key*, read once."""
    found = kept.get(key)
    if found is None:
        found = read()
        if found is not None:
            kept[key] = found
    return found
