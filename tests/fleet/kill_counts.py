"""Is every unit counted exactly once? What a canary has counted is compared with what the workers wrote.

Outcomes and positions are committed together, so one look at both rows says which records must be in the count. The
controller itself looks after each of its commits: whoever looks from outside may find an end and nothing before it.
The segments are kept by links of our own: whoever has read one to its end removes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from guideway.core.outcome import Outcome
from guideway.core.rollout import Phase
from guideway.kit.files import write_atomic
from guideway.kit.frames import frames
from guideway.rollout.canary import Canary
from guideway.store import canaries, fleet
from guideway.store.database import Database
from guideway.store.home import Home
from guideway.store.outcomes import MAGIC, SUFFIX


class Snapshot(msgspec.Struct):
    """The rows of one moment: how the rollout was, what its canary had counted, how far each segment was read."""

    phase: Phase
    canary: Canary
    positions: dict[str, int]


def witness(home: Home, database: Database) -> None:
    """Keep how the newest rollout is counted now, while it is counted for, and the segments that there are."""
    kept = home.path / "kept"
    newest = next(iter(fleet.rollouts(database, "dev", limit=1)), None) if kept.is_dir() else None
    canary = canaries.canary(database, newest.id, Canary) if newest and not newest.phase.final else None
    if newest is None or canary is None:
        return
    _link(home.environment("dev") / "outcomes", kept)
    before, positions = _last(kept, newest.id), canaries.positions(database, "dev")
    for name in before.positions.keys() - positions.keys() if before else ():  # read to its end, and removed
        positions[name] = (kept / name).stat().st_size
    told = msgspec.msgpack.encode(Snapshot(newest.phase, canary, positions))
    write_atomic(_file(kept, newest.id), told, durable=False)


def _link(spool: Path, kept: Path) -> None:
    for segment in spool.glob(f"*{SUFFIX}"):
        if not segment.name.startswith("."):
            with contextlib.suppress(FileExistsError):
                (kept / segment.name).hardlink_to(segment)


def _last(kept: Path, rollout: str) -> Snapshot | None:
    file = _file(kept, rollout)
    return msgspec.msgpack.decode(file.read_bytes(), type=Snapshot) if file.is_file() else None


def _file(kept: Path, rollout: str) -> Path:
    return kept / f"{rollout}.seen"


class Counts:
    """Has the controllers of *home* bear witness from now on, and checks what they saw."""

    def __init__(self, home: Home) -> None:
        self.kept = home.path / "kept"
        self.kept.mkdir(exist_ok=True)

    def check(self, rollout: str) -> tuple[int, list[str]]:
        """How many units the workers had written by the last look, and what is wrong with how they were counted."""
        last = _last(self.kept, rollout)
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


def _told(canary: Canary) -> dict[str, tuple]:
    """For every signal: how many requests it spoke of, and its events by arm and share."""
    return {
        name: (score.requests, dict(score.process.tally), (score.trials.requests, score.trials.events))
        for name, score in canary.scores.signals.items()
    }
