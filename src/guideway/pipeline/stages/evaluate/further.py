"""What is asked of the model that ships beyond the splits: slices with a floor, and prompts that suffered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Perturb, Slices
from guideway.pipeline.stages.evaluate.ask import Asker, scored_by
from guideway.pipeline.stages.evaluate.report import Further
from guideway.pipeline.stages.evaluate.robust import Robustness, in_turns, robustness
from guideway.pipeline.stages.evaluate.slices import slices_of


class Bench(Protocol):
    """Who scores rows by the model that ships."""

    asker: Asker
    seed: int

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """The score of each row, 0 to 1."""


def further(job: Job, bench: Bench, judged: Sequence[str], say: Callable[[float], None]) -> Further:
    """Measure slices and robustness on the *judged* splits, and leave both as evidence."""
    splits = [bench.asker.rows(name) for name in judged]
    found = Further()
    if not any(splits):
        return found
    _slices(job, bench, [row for rows in splits for row in rows], found)
    _robustness(job, bench, splits, found, say)
    return found


def _slices(job: Job, bench: Bench, rows: Sequence[Mapping[str, Any]], found: Further) -> None:
    asked = msgspec.convert(job.params["slices"], tuple[Slices, ...])
    if not asked:
        return
    scores = bench.scores(rows)
    found.slices = [one for each in asked for one in slices_of(rows, scores, each, bench.seed)]
    ships = job.params["ships"]
    for one in found.slices:
        job.measure("slice_score", one.score, "share", about=ships, n=one.rows, interval=one.interval, slice=one.name)
    judged = [one for one in found.slices if one.judged]
    below = [one for one in judged if not one.kept]
    if judged:
        job.measure("slices_below_floor", len(below), "slices", about=ships, n=len(judged))
    worst = f", the worst {below[0].name} {below[0].score:.1%}" if below else ""
    job.fact(f"{len(below)} of {len(judged)} slices below their floor{worst}")


def _robustness(
    job: Job,
    bench: Bench,
    splits: Sequence[Sequence[Mapping[str, Any]]],
    found: Further,
    say: Callable[[float], None],
) -> None:
    asked, ships = msgspec.convert(job.params["perturb"], Perturb), job.params["ships"]
    if bench.asker.ids_only:
        job.fact("prompts of token ids cannot be misspelt, so damage was not measured")
        return
    rows = in_turns(splits, asked.examples)
    if not (rows and asked.kinds):
        return
    measured = robustness(bench.scores, rows, asked.kinds, about=ships, seed=bench.seed, say=say)
    found.robustness, found.undamaged, found.scored = measured.drops, measured.undamaged, scored_by(rows)
    for kind, one in measured.drops:
        job.measure(one.metric, one.value, one.unit, about=ships, n=one.n, interval=one.interval, slice=kind)
    job.fact(cost_of(measured, found.scored))


def cost_of(measured: Robustness, scored: str) -> str:
    """What the worst damage costs of the figure *scored*, in a line."""
    kind, worst = max(measured.drops, key=lambda pair: pair[1].value)
    before, lost = measured.undamaged, worst.value
    if lost <= 0:
        return f"damaged prompts cost nothing of {scored} ({before:.1%})"
    gap = f"{kind}: {before:.1%} to {before - lost:.1%}"
    return f"damaged prompts cost {lost * 100:.1f} points of {scored} at most ({gap})"
