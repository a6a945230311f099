"""Hear what became of requests: count what the workers left, and write down how far we read, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from guideway.core.artifact import short
from guideway.core.outcome import Outcome
from guideway.core.rollout import Phase, Rollout
from guideway.fleet.memory import Memory
from guideway.fleet.say import say
from guideway.fleet.thumbs import Thumbs
from guideway.store import canaries, fleet, outcomes
from guideway.store.database import Database
from guideway.store.home import Home

LISTEN = 0.1
"""Seconds between two looks into the spool of one environment."""
AT_ONCE = 5000
"""Records after which one look begins no further segment."""
SHARE = 20.0
"""A look is followed by a pause so many times as long: many callers make large rows."""
PAUSE = 5.0
"""Seconds that a pause lasts at the most: a disk that stalled once must not leave a canary unheard for minutes."""
REMEMBER = 5.0
"""Seconds between two writings of what the stable release did lately; a kill may cost that much of it."""
LONGEST = 5.0
"""Seconds that may pass between two looks for them to count: a machine that slept has seen nothing."""


class Ears:
    """Reads the spools of one home; used by the controller's thread alone. *steady* is a clock that never jumps."""

    def __init__(self, home: Home, database: Database, memory: Memory, steady: Callable[[], float]) -> None:
        self._home, self._database, self._memory, self._steady = home, database, memory, steady
        self._listened: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._remembered: dict[str, float] = {}
        self._deaf: dict[str, float] = {}
        self._caught_up: set[str] = set()
        self._thumbs = Thumbs(home, database, memory)

    def deaf_for(self, environment: str) -> float:
        """Seconds for which the spool could not be read; 0: it can."""
        return self._deaf.get(environment, 0.0)

    def hear(self, environment: str) -> bool:
        """Count what the workers of *environment* left since the last time; was there anything?"""
        now, last = self._steady(), self._listened.get(environment)
        if last is not None and now - last < self._pauses.get(environment, LISTEN):
            return False
        self._listened[environment] = now
        folder = self._home.environment(environment) / "outcomes"
        read = canaries.positions(self._database, environment)
        try:
            found = _news(folder, read)
        except OSError:
            passed = LISTEN if last is None else min(now - last, LONGEST)
            self._deaf[environment] = self._deaf.get(environment, 0.0) + passed
            self._caught_up.discard(environment)
            return False
        self._deaf.pop(environment, None)
        self._say(environment, found)
        if found:
            self._commit(environment, found)
            self._pauses[environment] = min(PAUSE, max(LISTEN, SHARE * (self._steady() - now)))
        if sum(len(reading.records) for reading in found.values()) < AT_ONCE:
            self._caught_up.add(environment)
        self._thumbs.hear(environment)
        self._clear(environment, folder, {**read, **{name: reading.offset for name, reading in found.items()}})
        return any(reading.records for reading in found.values())

    def _say(self, environment: str, found: dict[str, outcomes.Reading]) -> None:
        """Records that nobody understands, and ends that were torn, are said aloud: they were requests too."""
        for name, reading in found.items():
            if reading.unread or reading.lost:
                say(f"{environment}: {name}: {reading.unread} records not understood, {reading.lost} bytes torn off")

    def _commit(self, environment: str, found: dict[str, outcomes.Reading]) -> None:
        news = [one for reading in found.values() for one in reading.records]
        with self._memory.transaction():
            self._count(environment, news)
            positions = {name: reading.offset for name, reading in found.items()}
            canaries.put_positions(self._database, environment, positions)
        self._thumbs.remember(news)

    def _count(self, environment: str, news: list[Outcome]) -> None:
        route = fleet.route(self._database, environment)
        stable = short(route.stable.release) if route and route.stable else ""
        baseline = self._memory.baseline(environment)
        for outcome in news:
            baseline.take(outcome, stable)
            baseline.meet(outcome.caller, outcome.at)
        now = self._steady()
        if now - self._remembered.get(environment, -REMEMBER) >= REMEMBER:
            self._remembered[environment] = now
            canaries.put_baseline(self._database, environment, baseline)
        for rollout in fleet.rollouts(self._database, environment, limit=1):
            self._tell(rollout, stable, news)

    def _tell(self, rollout: Rollout, stable: str, news: list[Outcome]) -> None:
        """Tell the canary or shadow of *rollout* the *news*, if it has begun and can still learn from them."""
        known = self._memory.begun(rollout) if rollout.phase.beside else self._memory.canary(rollout)
        if known is None or rollout.phase in (Phase.FAILED, Phase.REPLACED):
            return
        if rollout.phase is Phase.SHADOW and not known.scores.limits.latency:
            known.scores.limits = self._memory.baseline(rollout.environment).limits()
        if rollout.phase is not Phase.DONE:
            units = sum([known.take(outcome, rollout.id) for outcome in news])
            if units and rollout.environment in self._caught_up:  # nobody knows how old what lay there is
                self._memory.watch(rollout).unit = self._steady()
        elif stable == short(rollout.release):
            for outcome in news:
                known.take_after(outcome, stable)
        self._memory.write(rollout, known)

    def _clear(self, environment: str, folder: Path, read: dict[str, int]) -> None:
        """Remove what was read to its end, and forget what is gone; what cannot be removed now is tried again.

        While the folder is not there nothing of it is gone: it may come back, and must not be counted once more.
        """
        if not folder.is_dir():
            return
        gone = set(outcomes.remove(folder, read)) | {name for name in read if not (folder / name).exists()}
        if gone:
            with self._database.transaction():
                canaries.drop_positions(self._database, environment, gone)


def _news(folder: Path, read: dict[str, int]) -> dict[str, outcomes.Reading]:
    """What the segments hold behind where they were *read* to, by name: of each worker in the order it wrote.

    A worker's next segment is begun when nothing is left of the one before, and all of one look are bounded: what was
    left by an outage is taken in pieces, between which others are looked after.
    """
    found: dict[str, outcomes.Reading] = {}
    unfinished: set[str] = set()
    records = 0
    for name in sorted(outcomes.segments(folder), key=outcomes.order):
        worker = outcomes.order(name)[0]
        if worker in unfinished or records >= AT_ONCE:
            continue
        reading = outcomes.read(folder, name, read.get(name, 0))
        if not reading.ended:
            unfinished.add(worker)
        if reading.offset != read.get(name, 0):
            found[name] = reading
            records += len(reading.records)
    return found
