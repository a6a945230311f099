"""The search itself: what is free takes the next trial, what falls behind is ended, what dies is noted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.tune.pool import Died, Done, Reported, Workers
from guideway.pipeline.stages.tune.space import Trial, best_of
from guideway.pipeline.stages.tune.study import Study

Rows = Sequence[tuple[float, int]]
"""The loss on each held-out row, or fold: the sum over what is predicted, and how much that is."""
Tell = Callable[[Mapping[int, Trial]], None]


def search(
    study: Study, pool: Workers, asked: Callable[[Trial], Any], tell: Tell, clock: Callable[[], float] = time.monotonic
) -> Mapping[int, Trial]:
    """Run trials until there are enough or the time is over; all trials of the study.

    Args:
        asked: what the work of *pool* is given for a trial; it returns ``Rows``.
        tell: hears of the trials whenever one has moved.

    Raises:
        GuidewayError: no trial ran to its end.
    """
    began = clock() - study.seconds
    until = began + study.tune.minutes * 60 if study.tune.minutes else math.inf
    try:
        while _fill(study, pool, asked, until, clock):
            _hear(study, pool)
            study.spend(clock() - began)
            tell(study.trials())
    finally:
        pool.close()
    trials = study.trials()
    if best_of(trials) is None:
        raise GuidewayError(_nothing(trials), where="tune", try_this="mend the range, or train without tune first")
    return trials


def mean_loss(rows: Rows) -> float:
    """The loss per predicted part, over all *rows*."""
    return sum(total for total, _ in rows) / max(1, sum(count for _, count in rows))


def _fill(study: Study, pool: Workers, asked: Callable[[Trial], Any], until: float, clock: Callable[[], float]) -> bool:
    """Start what there is room and time for; does anything run?"""
    while pool.free and clock() < until and (trial := study.next()):
        pool.start(trial.number, asked(trial))
    return pool.busy > 0


def _hear(study: Study, pool: Workers) -> None:
    number, said = pool.hear()
    match said:
        case Reported(point, loss):
            if not study.report(number, point, loss):
                pool.stop(number)
                study.pruned(number)
        case Done(rows):
            folds = [mean_loss([one]) for one in rows] if study.tune.folds else []
            study.complete(number, mean_loss(rows), folds)
        case Died(reason):
            study.failed(number, reason)


def _nothing(trials: Mapping[int, Trial]) -> str:
    failed = [one.reason for one in trials.values() if one.state == "failed"]
    if not failed:
        return "no trial ran to its end in the time given"
    return f"{len(failed)} of {len(trials)} trials failed and none ran to its end; the last one: {failed[-1]}"
