"""Judge: a dossier in, verdicts out. Pure; missing, expired or foreign evidence is UNKNOWN."""

from __future__ import annotations

import datetime
import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from guideway.core.dossier import Dossier, Proof, Waiver
from guideway.core.evidence import Evidence
from guideway.core.gate import Judgement, Level, Verdict, When
from guideway.standard.clauses import Check, Clause, Text

DAY = 86400.0
_ROLES = {"trained": "train"}
_ORDER = {Verdict.FAIL: 0, Verdict.UNKNOWN: 1, Verdict.PASS: 2}
TIED = Text(
    en="the baseline is as good and simpler: ship it, or hold out rows that tell the two apart (data.splits)",
    zh="基线同样好且更简单：上线基线，或留出能区分二者的数据（data.splits）",
)


def judge_all(
    clauses: Sequence[Clause],
    dossier: Dossier,
    *,
    level: Level,
    when: Collection[When],
    at: float,
    jurisdictions: Collection[str] = ("CN", "EU"),
) -> tuple[Judgement, ...]:
    """One judgement for each clause that is asked *when* and has a check that applies. *at*: seconds since 1970."""
    found = []
    for clause in clauses:
        checks = [check for check in clause.checks if _applies(check, dossier, jurisdictions)]
        if clause.when in when and checks:
            judged = judge(clause, checks, dossier, level=level, at=at)
            found.append(_waived(judged, dossier, at))
    return tuple(found)


def judge(clause: Clause, checks: Sequence[Check], dossier: Dossier, *, level: Level, at: float) -> Judgement:
    """The verdict of *clause* on *checks*: the worst one decides, and is the one that is shown."""
    results = [examine(check, dossier, at) for check in checks]
    worst = min(results, key=lambda result: _ORDER[result.verdict])
    bite = clause.bites(level)
    named = "" if worst.check.metric in clause.en else f"{worst.check.metric}: "
    shown = worst.figure.removesuffix(f" on {worst.check.slice}") if worst.check.slice in clause.en else worst.figure
    held = sum(result.verdict is Verdict.PASS for result in results)
    more = f" ({held} of {len(results)} proven)" if 0 < held < len(results) else ""
    advice = TIED if worst.tied and worst.verdict is Verdict.FAIL else clause.do
    return Judgement(
        clause=clause.id,
        asks=clause.en,
        asks_zh=clause.zh,
        verdict=worst.verdict,
        figure=named + shown + more,
        limit=worst.limit,
        blocking=bite == "block",
        evidence=worst.proof.digest if worst.proof else None,
        try_this=advice.en,
        try_this_zh=advice.zh,
        bite=bite,
        when=clause.when,
        automatic=all(result.proof.evidence.automatic for result in results if result.proof),
    )


class Result(NamedTuple):
    """One check examined: the figure found, the limit, the proof that decided, and whether it is the very limit."""

    check: Check
    verdict: Verdict
    figure: str
    limit: str
    proof: Proof | None = None
    tied: bool = False


def examine(check: Check, dossier: Dossier, at: float) -> Result:
    """Look for the proof of *check* about exactly what the dossier is about."""
    proofs = _proofs(check, dossier.proofs, dossier)
    if not proofs:
        foreign = any(one.evidence.metric == check.metric for one in dossier.proofs)
        why = "no evidence about this one" if foreign else "no evidence"
        return Result(check, Verdict.UNKNOWN, why, _limit(check, check.limit))
    unfit = [(one, why) for one in proofs if (why := _unfit(check, one.evidence, at))]
    if unfit:
        return Result(check, Verdict.UNKNOWN, unfit[0][1], _limit(check, check.limit), unfit[0][0])
    against = [(one, _bound(check, one, dossier)) for one in proofs]
    worst, bound = min(against, key=lambda pair: _margin(check, _told(check, pair[0].evidence), pair[1]))
    figure = figure_of(worst.evidence) + (_beside(worst.evidence, bound) if check.below is not None else "")
    if bound is None:
        return Result(check, Verdict.UNKNOWN, figure, _limit(check, None), worst)
    inside = _margin(check, _told(check, worst.evidence), bound)
    holds = inside > 0 if check.below is not None else inside >= 0
    tied = check.below is not None and worst.evidence.value == bound
    return Result(check, Verdict.PASS if holds else Verdict.FAIL, figure, _limit(check, bound), worst, tied)


def _beside(evidence: Evidence, baseline: float | None) -> str:
    """What the value of *evidence* alone does not say: that it equals the *baseline*, or that chance may part them."""
    interval = evidence.interval
    if baseline is None:
        return ""
    if evidence.value == baseline:
        return ", a tie"
    return ", within noise" if interval and interval.low <= baseline <= interval.high else ""


def figure_of(evidence: Evidence) -> str:
    """``0.875 [0.85, 0.9] on a``: the value, its interval and its slice."""
    interval = evidence.interval
    around = f" [{number(interval.low)}, {number(interval.high)}]" if interval else ""
    return number(evidence.value) + around + (f" on {evidence.slice}" if evidence.slice else "")


def number(value: float) -> str:
    """Four significant digits: what people read."""
    return f"{value:.4g}"


def subject_of(check: Check, dossier: Dossier) -> str | None:
    """The digest that evidence of *check* must be about; None when there is no such thing yet."""
    role = dossier.ships if check.about == "shipped" else _ROLES.get(check.about, check.about)
    return dossier.subjects.get(role)


def _applies(check: Check, dossier: Dossier, jurisdictions: Collection[str]) -> bool:
    task = dossier.spec.get("task")
    if check.task is not None and check.task != (task if task in ("classify", "embed") else "text"):
        return False
    if check.only == "compressed":
        return dossier.ships != "train"
    if check.only == "serving":
        return dossier.serving is not None and not _compares(dossier)  # in pairs says more, whatever the data are
    if check.only == "against":
        return dossier.serving is not None and _compares(dossier)
    return check.only is None or check.only in jurisdictions


def _compares(dossier: Dossier) -> bool:
    return bool(dossier.spec.get("evaluate", {}).get("against"))


def _proofs(check: Check, proofs: Sequence[Proof], dossier: Dossier) -> list[Proof]:
    """One proof for each slice: an automatic one before any by hand, then the newest."""
    subject = subject_of(check, dossier)
    reported = _reported(dossier) if check.judged else ()
    best: dict[str, Proof] = {}
    for one in proofs:
        evidence = one.evidence
        if evidence.metric != check.metric or evidence.subject.digest != subject:
            continue
        if check.slice not in ("", evidence.slice) or evidence.slice in reported:
            continue
        if check.only == "against" and dossier.served not in evidence.inputs:
            continue  # it was compared with another release
        if check.about == "data" and check.judged and evidence.slice == "train":
            continue
        known = best.get(evidence.slice)
        if known is None or _rank(evidence) >= _rank(known.evidence):
            best[evidence.slice] = one
    return list(best.values())


def _rank(evidence: Evidence) -> tuple[bool, float]:
    return evidence.automatic, evidence.at


def _reported(dossier: Dossier) -> tuple[str, ...]:
    """The splits that are measured and shown but judge nothing."""
    splits = dossier.spec.get("data", {}).get("splits", {})
    return tuple(name for name, split in splits.items() if not split.get("judged", True))


def _unfit(check: Check, evidence: Evidence, at: float) -> str:
    """Why this proof does not count; empty when it does."""
    ends = evidence.valid_until
    if check.days is not None:
        oldest = evidence.at + check.days * DAY
        ends = oldest if ends is None else min(ends, oldest)
    if ends is not None and ends < at:
        return f"expired {_day(ends)}"
    if evidence.at > at + DAY:
        return f"dated in the future: {_day(evidence.at)}"
    if evidence.n < check.n:
        return f"n = {evidence.n:,}, {check.n:,} are needed"
    if (check.interval or check.sure) and evidence.interval is None:
        return f"{number(evidence.value)}, without an interval"
    return ""


def _bound(check: Check, proof: Proof, dossier: Dossier) -> float | None:
    """The limit for one proof; None when it should come from evidence that is missing."""
    if check.below is not None:
        return _peer(check.below, proof, dossier.proofs)
    if check.worse_than_serving is not None:
        served = _served(proof, dossier)
        return None if served is None else served * (1 + check.worse_than_serving)
    return check.limit


def _peer(metric: str, proof: Proof, proofs: Sequence[Proof]) -> float | None:
    """The newest value of another metric about the same thing and slice."""
    same = (proof.evidence.slice, proof.evidence.subject.digest)
    peers = [one.evidence for one in proofs if one.evidence.metric == metric]
    found = [one for one in peers if (one.slice, one.subject.digest) == same]
    return max(found, key=_rank).value if found else None


def _served(proof: Proof, dossier: Dossier) -> float | None:
    """The same figure of the model that serves, if it was measured on the same data."""
    data = dossier.subjects.get("data")
    found = [
        one.evidence
        for one in dossier.serving or ()
        if (one.evidence.metric, one.evidence.slice) == (proof.evidence.metric, proof.evidence.slice)
        and data in one.evidence.inputs
    ]
    return max(found, key=_rank).value if found else None


def _told(check: Check, evidence: Evidence) -> float:
    """What is held against the limit: the value, or the end of its interval that is nearer to the limit."""
    if not check.sure or evidence.interval is None:
        return evidence.value
    return evidence.interval.low if check.at_least is not None else evidence.interval.high


def _margin(check: Check, value: float, bound: float | None) -> float:
    """How far inside the limit; negative is outside. What cannot be compared is worst of all."""
    if bound is None or math.isnan(value):
        return -math.inf
    return value - bound if check.at_least is not None else bound - value


def _limit(check: Check, bound: float | None) -> str:
    if check.below is not None:
        return f"< {check.below}" + (f" {number(bound)}" if bound is not None else "")
    if check.worse_than_serving is not None:
        found = f"= {number(bound)}" if bound is not None else "(not measured on this data: evaluate.against: serving)"
        return f"≤ {1 + check.worse_than_serving:g} × serving {found}"
    whole = " by its whole interval" if check.sure else ""
    return f"{'≥' if check.at_least is not None else '≤'} {number(check.limit or 0.0)}{whole}"


def _waived(judgement: Judgement, dossier: Dossier, at: float) -> Judgement:
    """A waiver keeps a judgement from blocking, and is shown; one that ended is shown too and does nothing."""
    if judgement.verdict is Verdict.PASS:
        return judgement
    waivers = [one for one in dossier.waivers if _covers(one, judgement.clause, dossier)]
    if not waivers:
        return judgement
    latest = max(waivers, key=lambda one: one.until)
    said = f"by {latest.signer} until {_day(latest.until)}: {latest.reason}"
    if not latest.since <= at < latest.until:
        state = "ended" if latest.until <= at else "not yet in force"
        return msgspec.structs.replace(judgement, figure=f"{judgement.figure}; waiver {state} {said}")
    return msgspec.structs.replace(judgement, blocking=False, waived=said)


def _covers(waiver: Waiver, clause: str, dossier: Dossier) -> bool:
    return clause in waiver.clauses and waiver.name == dossier.name and waiver.environment in ("*", dossier.environment)


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).date().isoformat()
