"""Is every unit counted exactly once? What a canary has counted is compared with what the workers wrote.

Outcomes and positions are committed together, so one look at both rows says which records must be in the count. The
segments are kept by links of our own: whoever has read one to its end removes it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator

import msgspec

from guideway.core.outcome import Outcome
from guideway.core.rollout import Phase, Rollout
from guideway.kit.frames import frames
from guideway.rollout.canary import Canary
from guideway.store.home import Home
from guideway.store.outcomes import MAGIC, SUFFIX

EVERY = 0.05
"""Seconds between two looks."""


class Snapshot(msgspec.Struct):
    """The rows of one moment: how the rollout was, what its canary had counted, how far each segment was read."""

    phase: Phase
    canary: Canary
    positions: dict[str, int]


class Counts:
    """Looks again and again while it is entered, and keeps the last look at each rollout that was still counted for."""

    def __init__(self, home: Home) -> None:
        self.home, self.spool = home, home.environment("dev") / "outcomes"
        self.kept = home.path / "kept"
        self.kept.mkdir(exist_ok=True)
        self.last: dict[str, Snapshot] = {}
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Counts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def check(self, rollout: str) -> tuple[int, list[str]]:
        """How many units the workers had written by the last look, and what is wrong with how they were counted."""
        last = self.last.get(rollout)
        if last is None:
            return 0, ["nobody saw it counted"]
        written = Canary()
        written.scores.limits = last.canary.scores.limits
        for name, position in last.positions.items():
            for outcome in self._records(name, position):
                written.take(outcome, rollout)
        pairs = ((written.scores.units, last.canary.scores.units), (_told(written), _told(last.canary)))
        wrong = [f"written {one}, counted {other}" for one, other in pairs if one != other]
        return sum(map(sum, written.scores.units.values())), wrong

    def _records(self, name: str, position: int) -> Iterator[Outcome]:
        data = (self.kept / name).read_bytes()[:position]
        for payload, _ in frames(data, len(MAGIC)):
            yield msgspec.msgpack.decode(payload, type=Outcome)

    def _run(self) -> None:
        with sqlite3.connect(self.home.database, timeout=30.0, isolation_level=None) as database:
            while not self._over.wait(EVERY):
                self._link()
                self._look(database)
        database.close()

    def _link(self) -> None:
        for segment in self.spool.glob(f"*{SUFFIX}"):
            kept = self.kept / segment.name
            if not segment.name.startswith(".") and not kept.exists():
                kept.hardlink_to(segment)

    def _look(self, database: sqlite3.Connection) -> None:
        database.execute("BEGIN")
        rollout = database.execute("SELECT body FROM rollouts ORDER BY created DESC, id DESC LIMIT 1").fetchone()
        canaries = database.execute("SELECT rollout, body FROM canaries").fetchall()
        positions = dict(database.execute("SELECT segment, position FROM spools").fetchall())
        database.execute("COMMIT")
        self.looks += 1
        now = msgspec.json.decode(rollout[0], type=Rollout)
        body = dict(canaries).get(now.id)
        if now.phase.final or body is None:
            return
        before = self.last[now.id].positions if now.id in self.last else {}
        for name in before.keys() - positions.keys():  # it was read to its end, and removed
            positions[name] = (self.kept / name).stat().st_size
        self.last[now.id] = Snapshot(now.phase, msgspec.msgpack.decode(body, type=Canary), positions)


def _told(canary: Canary) -> dict[str, tuple]:
    """For every signal: how many requests it spoke of, and its events by arm and share."""
    return {
        name: (score.requests, dict(score.process.tally), (score.trials.requests, score.trials.events))
        for name, score in canary.scores.signals.items()
    }
