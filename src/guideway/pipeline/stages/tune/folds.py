"""Cross-validation of trials: which row lies in which fold, and how sure a mean over folds is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.evidence import Interval
from guideway.pipeline.stages.intervals import LEVEL
from guideway.pipeline.stages.train.rows import draw_of
from guideway.pipeline.stages.tune.gain import STUDENT


class Judged(msgspec.Struct, frozen=True):
    """The loss of the best trial on each fold, their mean, and where that lies for other rows of the same kind.

    It chose the best trial, so it is lower than what the next rows will show.
    """

    loss: float
    interval: Interval
    folds: tuple[float, ...]


def judged(losses: Sequence[float]) -> Judged:
    """The mean of *losses*, one a fold (two to twenty), with an interval that knows how much the folds share.

    Two folds have most of their training rows in common, so their losses vary together and the plain variance of
    their mean is too small. It is multiplied by 1 + k / (k - 1) (Nadeau and Bengio 2003, "Inference for the
    Generalization Error"), against Student's distribution with k - 1 degrees of freedom.
    """
    count, mean = len(losses), statistics.fmean(losses)
    half = STUDENT[count - 2] * statistics.stdev(losses) * math.sqrt(1 / count + 1 / (count - 1))
    return Judged(mean, Interval(mean - half, mean + half, LEVEL, "corrected-t"), tuple(losses))


def dealt(rows: Sequence[Mapping[str, Any]], folds: int, seed: int) -> list[int]:
    """The fold of each of *rows*, from 0: rows with the same prompt are in the same one.

    Prompts are dealt out in turn in the order of their hash, class by class where rows have labels: so folds have as
    many prompts each, and of every class as many, to within one.

    Raises:
        GuidewayError: there are fewer prompts than folds.
    """
    draws, classes = [draw_of(row, seed) for row in rows], dict[bytes, str]()
    for draw, row in zip(draws, rows, strict=True):
        label = str(row.get("label", ""))
        classes[draw] = min(classes.get(draw, label), label)
    if len(classes) < folds:
        raise GuidewayError(
            f"{len(classes)} prompts are too few for {folds} folds", where="tune.folds", try_this="fewer folds"
        )
    order = sorted(classes, key=lambda draw: (classes[draw], draw))
    place = {draw: number % folds for number, draw in enumerate(order)}
    return [place[draw] for draw in draws]


def folder_of(rows: Path, fold: int) -> Path:
    """Where the rows of one fold lie: those that it learns, and those that judge it."""
    return rows / f"fold-{fold}"
