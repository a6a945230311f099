"""Train defaults and best anew with fresh seeds, and decide by the interval which of them training takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from guideway.core.spec import Tune
from guideway.core.spec.tune import Value
from guideway.kit.files import write_atomic
from guideway.pipeline.stages.tune.gain import Gain, Outcome, gain_of, outcome_of
from guideway.pipeline.stages.tune.pool import Died, Done, Reported, Workers
from guideway.pipeline.stages.tune.space import POINTS, seed_of

Arm = Literal["default", "best"]
Arms = Mapping[Arm, Mapping[str, Value]]
Ask = Callable[[Mapping[str, Value], int], Any]
"""What the work of a pool is given, for parameters and a seed."""


_FAILED: Mapping[Arm, Outcome] = {"best": "best failed", "default": "default failed"}


class Verdict(NamedTuple):
    """What training anew showed; ``gain`` is None where an arm failed, or where both are the same."""

    outcome: Outcome
    gain: Gain | None = None
    reason: str = ""
    """Why an arm failed."""

    @property
    def taken(self) -> bool:
        """Does training take the best that was found? Only where it is shown to be better."""
        return self.outcome in ("better", "default failed")


class _Run(NamedTuple):
    arm: Arm
    seed: int


class _Kept(msgspec.Struct, frozen=True):
    """What one training left, for a search that is killed before the last of them."""

    rows: list[tuple[float, int]] = []
    failed: str = ""


class Anew:
    """Trainings anew: *ask* says what the work of *pool* is given; *tell* hears how many are done.

    Results are kept in *folder*, so that a search that is killed here repeats only what ran.
    """

    def __init__(self, pool: Workers, ask: Ask, folder: Path, tell: Callable[[float], None]) -> None:
        self._pool, self._ask, self._folder, self._tell = pool, ask, folder, tell

    def confirm(self, tune: Tune, arms: Arms) -> Verdict:
        """Train both *arms* with the same fresh seeds, and judge the difference."""
        if arms["default"] == arms["best"]:
            return Verdict("same")
        seeds = [seed_of(tune.seed, "gain", number) for number in range(tune.repeats)]
        try:
            found = self._all([_Run(arm, seed) for seed in seeds for arm in arms], arms)
        finally:
            self._pool.close()
        for arm, outcome in _FAILED.items():
            failed = [found[_Run(arm, seed)].failed for seed in seeds if found[_Run(arm, seed)].failed]
            if failed:
                return Verdict(outcome, reason=failed[0])
        default, best = ([found[_Run(arm, seed)].rows for seed in seeds] for arm in ("default", "best"))
        gain = gain_of(seeds, default, best)
        return Verdict(outcome_of(gain), gain)

    def _all(self, runs: list[_Run], arms: Arms) -> dict[_Run, _Kept]:
        """The result of every run: those that the folder has, and the others made now."""
        found = {run: kept for run in runs if (kept := self._read(run))}
        waiting = [number for number, run in enumerate(runs) if run not in found]
        parts: dict[int, float] = {}
        while waiting or self._pool.busy:
            while waiting and self._pool.free:
                number = waiting.pop(0)
                self._pool.start(number, self._ask(arms[runs[number].arm], runs[number].seed))
            number, said = self._pool.hear()
            match said:
                case Reported(point, _):
                    parts[number] = point / POINTS
                case Done(rows):
                    found[runs[number]] = self._keep(runs[number], _Kept(rows=rows))
                case Died(reason):
                    found[runs[number]] = self._keep(runs[number], _Kept(failed=reason))
            self._tell(len(found) + sum(part for at, part in parts.items() if runs[at] not in found))
        return found

    def _path(self, run: _Run) -> Path:
        return self._folder / f"{run.arm}-{run.seed}.json"

    def _read(self, run: _Run) -> _Kept | None:
        path = self._path(run)
        return msgspec.json.decode(path.read_bytes(), type=_Kept) if path.exists() else None

    def _keep(self, run: _Run, kept: _Kept) -> _Kept:
        write_atomic(self._path(run), msgspec.json.encode(kept))
        return kept
