"""What users say of answers, for the canary that drew the requests. Who answered is remembered for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from guideway.core.feedback import Judgement
from guideway.core.outcome import Outcome
from guideway.fleet.memory import Memory
from guideway.store import feedback, fleet
from guideway.store.database import Database
from guideway.store.home import Home

KEPT = 20_000
"""Units that are remembered, the newest. What is said of older ones counts for training, not for the canary."""


class Thumbs:
    """Takes feedback into the rows and into the evidence; used by the controller's thread alone.

    Which units we remember depends on their number and on when a controller began, never on the arm. A key is heard
    once at each weight: who sees which release answered must not be able to stop it by saying so often.
    """

    def __init__(self, home: Home, database: Database, memory: Memory) -> None:
        self._home, self._database, self._memory = home, database, memory
        self._units: OrderedDict[str, Outcome] = OrderedDict()
        self._heard: set[tuple[str, str, float]] = set()

    def remember(self, news: Iterable[Outcome]) -> None:
        """Remember those of *news* that are units, as little of them as is needed."""
        for one in news:
            if one.rollout and not one.why_not and one.overdue != "running":
                self._units[one.request] = Outcome(
                    one.at, one.environment, one.rollout, one.arm, one.share, one.request, unit=one.unit
                )
        while len(self._units) > KEPT:
            self._units.popitem(last=False)

    def hear(self, environment: str) -> None:
        """Make rows of the feedback that waits, and count the thumbs among it."""
        found: list[Judgement] = []
        feedback.commit(self._database, self._home.environment(environment) / feedback.FOLDER, found.extend)
        said = list(self._said(found))
        running = fleet.rollouts(self._database, environment, running=True, limit=1)
        known = self._memory.canary(running[0]) if said and running else None
        if known is None:
            return
        with self._memory.transaction():
            for unit, judgement in said:
                if unit.rollout == running[0].id:
                    known.scores.take_late(unit, judgement.thumb)
            self._memory.write(running[0], known)

    def _said(self, found: Iterable[Judgement]) -> Iterator[tuple[Outcome, Judgement]]:
        """The thumbs about units: of each unit one, and of each key one at each weight."""
        for judgement in found:
            unit = self._units.pop(judgement.request, None) if judgement.thumb else None
            if unit is None:
                continue
            voice = (unit.rollout, judgement.key, unit.share)
            if voice not in self._heard and len(self._heard) < KEPT:
                self._heard.add(voice)
                yield unit, judgement
