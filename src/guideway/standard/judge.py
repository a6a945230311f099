"""Judge: evidence in, verdict out. Pure; missing evidence is UNKNOWN."""

from __future__ import annotations

import math
from collections.abc import Sequence

from guideway.core.artifact import digest_of
from guideway.core.evidence import Evidence
from guideway.core.gate import Judgement, Verdict
from guideway.standard.clauses import Clause


def judge_all(clauses: Sequence[Clause], evidence: Sequence[Evidence], *, shipped: str) -> tuple[Judgement, ...]:
    """One judgement per clause. *shipped* is the role (stage) of the model that ships.

    A clause about compression has nothing to say when the trained model itself ships, and is left out.
    """
    own = [clause for clause in clauses if not (clause.id == "CMP-01" and shipped == "train")]
    return tuple(judge(clause, evidence, shipped=shipped) for clause in own)


def judge(clause: Clause, evidence: Sequence[Evidence], *, shipped: str) -> Judgement:
    """The verdict of *clause*: its worst slice decides."""
    role = {"shipped": shipped, "trained": "train", "data": "data"}[clause.role]
    found = [one for one in evidence if one.metric == clause.metric and one.subject.role == role]
    found = [one for one in found if one.slice not in clause.leaving_out and clause.slice in ("", one.slice)]
    if not found:
        return _judgement(clause, Verdict.UNKNOWN, None, _limit(clause, None))
    against = [(one, _bound(clause, one, evidence)) for one in found]
    worst, bound = min(against, key=lambda pair: _margin(clause, *pair))
    if bound is None:
        return _judgement(clause, Verdict.UNKNOWN, worst, _limit(clause, None))
    verdict = Verdict.PASS if _margin(clause, worst, bound) >= 0 else Verdict.FAIL
    return _judgement(clause, verdict, worst, _limit(clause, bound))


def _bound(clause: Clause, one: Evidence, evidence: Sequence[Evidence]) -> float | None:
    """The limit for one piece of evidence; None when it should come from evidence that is missing."""
    if clause.below is None:
        return clause.at_least if clause.at_least is not None else clause.at_most
    peers = (
        other.value
        for other in evidence
        if other.metric == clause.below and (other.slice, other.subject) == (one.slice, one.subject)
    )
    return next(peers, None)


def _margin(clause: Clause, one: Evidence, bound: float | None) -> float:
    """How far inside the limit; negative is outside. What cannot be compared is worst of all."""
    if bound is None or math.isnan(one.value):
        return -math.inf
    return one.value - bound if clause.at_least is not None else bound - one.value


def _limit(clause: Clause, bound: float | None) -> str:
    if clause.below is not None:
        return f"< {clause.below}" + (f" {_number(bound)}" if bound is not None else "")
    return f"≥ {_number(clause.at_least)}" if clause.at_least is not None else f"≤ {_number(clause.at_most or 0.0)}"


def _judgement(clause: Clause, verdict: Verdict, worst: Evidence | None, limit: str) -> Judgement:
    figure = "no evidence"
    if worst:
        interval = worst.interval
        around = f" [{_number(interval.low)}, {_number(interval.high)}]" if interval else ""
        figure = f"{_number(worst.value)}{around}"
        if worst.slice and worst.slice not in clause.asks:
            figure += f" on {worst.slice}"
    return Judgement(
        clause=clause.id,
        asks=clause.asks,
        verdict=verdict,
        figure=figure,
        limit=limit,
        blocking=clause.bite == "block",
        evidence=digest_of(worst) if worst else None,
        try_this=clause.try_this,
    )


def _number(value: float) -> str:
    return f"{value:.4g}"
