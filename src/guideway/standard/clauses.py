"""The clauses as data. Those here have evidence from the stages of this version; the others follow with theirs."""

from __future__ import annotations

from typing import Literal

import msgspec

from guideway.core.spec import Spec

Bite = Literal["inform", "warn", "block"]


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that must hold: evidence of ``metric`` about the model in ``role``, inside the limit.

    ``below`` names another metric of the same subject and slice that the figure must stay under.
    An empty ``slice`` takes every slice that has evidence, but those in ``leaving_out``; the worst one decides.
    """

    id: str
    asks: str
    asks_zh: str
    metric: str
    role: Literal["shipped", "trained", "data"] = "shipped"
    slice: str = ""
    leaving_out: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    below: str | None = None
    bite: Bite = "block"
    try_this: str = ""


CLAUSES: tuple[Clause, ...] = (
    Clause(
        id="DAT-03",
        asks="no held-out prompt was seen in training",
        asks_zh="训练集与测试集没有重复",
        metric="exact_overlap",
        role="data",
        at_most=0.0,
        try_this="split by a field that keeps copies together (data.splits)",
    ),
    Clause(
        id="EVL-01",
        asks="perplexity is below the n-gram baseline",
        asks_zh="困惑度低于 n-gram 基线",
        metric="perplexity",
        below="baseline_perplexity",
        try_this="train longer, or ship the baseline: it is simpler",
    ),
    Clause(
        id="ROB-04",
        asks="no weight is NaN or infinite",
        asks_zh="权重中没有 NaN 或无穷大",
        metric="non_finite_weights",
        role="trained",
        at_most=0.0,
        try_this="lower train.learning_rate",
    ),
)


def clauses_for(spec: Spec) -> tuple[Clause, ...]:
    """The clauses that hold for *spec*: ours, the limits on compression, and what the team requires."""
    compression = (
        ("kl_to_source", "distance of the compressed model to the trained one", spec.compress.max_kl),
        ("top1_flips", "answers that compression changes", spec.compress.max_flips),
    )
    own = tuple(
        Clause(
            id=f"SPEC-{number}",
            asks=f"{one.metric}" + (f" on {one.split}" if one.split else ""),
            asks_zh=f"{one.metric}" + (f"（{one.split}）" if one.split else ""),
            metric=one.metric,
            role=one.about,
            slice=one.split,
            at_least=one.at_least,
            at_most=one.at_most,
            try_this="mend the model, the data or the prompt; the limit is in evaluate.require",
        )
        for number, one in enumerate(spec.evaluate.require, 1)
    )
    clauses = (*CLAUSES, *(_compression(*one) for one in compression), *own)
    reported = tuple(name for name, split in spec.data.splits.items() if not split.judged)
    return tuple(part for clause in clauses for part in _without(clause, reported))


def _without(clause: Clause, reported: tuple[str, ...]) -> tuple[Clause, ...]:
    """*clause* without the splits that are only reported, and for each of those one that only informs."""
    about_splits = clause.role != "data" and (clause.below is not None or clause.id.startswith("SPEC-"))
    if clause.slice or not about_splits:
        return (clause,)
    informs = (msgspec.structs.replace(clause, slice=name, bite="inform") for name in reported)
    return (msgspec.structs.replace(clause, leaving_out=reported), *informs)


def _compression(metric: str, asks: str, limit: float) -> Clause:
    return Clause(
        id="CMP-01",
        asks=asks,
        asks_zh="压缩后的质量损失" if metric == "kl_to_source" else "压缩改变的首选词比例",
        metric=metric,
        at_most=limit,
        try_this="choose a higher compress.precision",
    )
