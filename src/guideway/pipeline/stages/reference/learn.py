"""How ordinary prompts are learnt: counts, and what they are worth on prompts that were held out."""

from __future__ import annotations

import math
import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from guideway.core.errors import GuidewayError
from guideway.core.outliers import (
    CLASSES,
    LENGTHS,
    MASK,
    Pieces,
    Reference,
    Tables,
    is_beyond,
    pieces_of,
    read_reference,
    write_reference,
)
from guideway.core.protocols import Job
from guideway.pipeline.stages.intervals import wilson

FOLDS = 5
HELD_OUT = 0.2
"""The share that says how unusual is how rare; more where a rule needs it, half at most."""
WATCHED = 0.95
"""The share of ordinary prompts whose spread between folds is told: rarer ones are too few in a fold."""
PRIOR = 0.5
"""What was seen counts as seen so much more often, so that nothing is impossible."""
NEAR = (1, 2, 3, 2, 1)
"""How far a length counts for the ranges beside its own."""
NARROWEST = 0.05
"""Of a scale: where all prompts are alike, a little difference is no wonder yet."""


def looked_at(prompts: Iterable[str]) -> list[Pieces]:
    """What is looked at of each of *prompts*, held in little memory."""
    found = map(pieces_of, prompts)
    return [one._replace(grams=array("H", sorted(one.grams))) for one in found]


def split_of(prompts: Sequence[Pieces], strictest: float) -> tuple[Sequence[Pieces], Sequence[Pieces]]:
    """The prompts that are held out, enough of them to tell a share as rare as *strictest*, and those to learn from.

    Raises:
        GuidewayError: there are too few for that.
    """
    needed = math.ceil(1.0 / (1.0 - strictest) - 1e-9) - 1
    if needed > len(prompts) // 2:
        most = 1.0 - 1.0 / (len(prompts) // 2 + 1)
        advice = f"ask for {math.floor(most * 1e4) / 1e4:g} at most, or give more in serve.guardrails.outlier.data"
        what = f"{len(prompts):,} different prompts cannot tell a share of {strictest:g}: that needs {2 * needed:,}"
        raise GuidewayError(what, where="serve.guardrails.outlier", try_this=advice)
    held = max(needed, round(HELD_OUT * len(prompts)))
    return prompts[:held], prompts[held:]


def learnt(prompts: Sequence[Pieces], held: Sequence[Pieces]) -> bytes:
    """The file of the reference that learns from *prompts*, with the scores of those that were *held* out."""
    tables = _tables(prompts)
    return write_reference(tables, map(Reference(tables, ()).score, held))


def held_out(job: Job, prompts: Sequence[Pieces], strictest: float) -> dict[str, Any]:
    """Leave as evidence how many ordinary prompts would be outliers, and how far folds are apart; the figures.

    Every fold is judged by a reference that never saw it, neither to learn from nor to set the bounds.
    """
    beyond, watched = 0, []
    for number in range(FOLDS):
        job.progress(number, FOLDS, "folds")
        inside, outside = [one for at, one in enumerate(prompts) if at % FOLDS != number], prompts[number::FOLDS]
        held = min(len(inside) // 2, max(math.ceil(1.0 / (1.0 - strictest)), round(HELD_OUT * len(inside))))
        judge = read_reference(learnt(inside[held:], inside[:held]))
        shares = [judge.share(one) for one in outside]
        beyond += sum(is_beyond(share, strictest) for share in shares)
        watched.append(sum(is_beyond(share, WATCHED) for share in shares) / len(shares))
    share, spread = beyond / len(prompts), statistics.stdev(watched)
    interval = wilson(beyond, len(prompts))
    job.measure("outlier_share", share, "share", about="out", n=len(prompts), interval=interval)
    job.measure("outlier_share_spread", spread, "share", about="out", n=FOLDS)
    return {"prompts": len(prompts), "beyond": strictest, "share": share, "folds": watched, "spread": spread}


def _tables(prompts: Sequence[Pieces]) -> Tables:
    """What *prompts* say of length, characters and words."""
    rows = len(prompts)
    lengths = _smoothed(Counter(one.length for one in prompts))
    classes = [sum(one.characters[at] for one in prompts) for at in range(CLASSES)]
    grams = Counter(gram for one in prompts for gram in one.grams)
    size = sum(classes)
    rarest = _surprise(0, rows)
    tables = Tables(
        [_surprise(count, rows) for count in lengths],
        [_surprise(count, size) for count in classes],
        bytes(round(255 * _surprise(grams[gram], rows) / rarest) for gram in range(MASK + 1)),
        rarest / 255,
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
    )
    return _scaled(tables, prompts, lengths, grams)


def _scaled(tables: Tables, prompts: Sequence[Pieces], lengths: Sequence[float], grams: Counter[int]) -> Tables:
    """*tables* with middle and scale, as if each of *prompts* had not been learnt from when it is looked at."""
    rows, own = len(prompts) - 1, NEAR[len(NEAR) // 2] / sum(NEAR)
    by_count = [_surprise(count, rows) for count in range(max(grams.values(), default=0))]
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for one in prompts:
        size = sum(one.characters)
        told = sum(count * by for count, by in zip(one.characters, tables.characters, strict=True))
        words = [by_count[grams[gram] - 1] for gram in one.grams]
        found[0].append(_surprise(lengths[one.length] - own, rows))
        found[1].append(told / size if size else max(tables.characters))
        found[2].append(statistics.fmean(words) if words else _surprise(0, rows))
    middle = [statistics.median(part) for part in found]
    high = [sorted(part)[math.ceil(0.99 * len(part)) - 1] for part in found]
    scale = [max(NARROWEST, top - at) for top, at in zip(high, middle, strict=True)]
    return tables._replace(middle=middle, scale=scale)


def _smoothed(counts: Counter[int]) -> list[float]:
    reach, total = len(NEAR) // 2, sum(NEAR)
    return [
        sum(weight * counts[at + offset - reach] for offset, weight in enumerate(NEAR)) / total for at in range(LENGTHS)
    ]


def _surprise(count: float, total: float) -> float:
    """The negative logarithm of the share that *count* of *total* is."""
    return math.log((total + 1.0) / (max(0.0, count) + PRIOR))
