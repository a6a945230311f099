"""What a drill found: criteria with their limits, and the facts that are signed of them."""

from __future__ import annotations

from collections.abc import Sized

import msgspec

from guideway import __version__
from guideway.core.artifact import Digest
from guideway.core.evidence import Evidence, Producer, Subject
from guideway.standard.clauses import Clause
from guideway.standard.judge import DAY

FAULTS = "fault_drills_failed"
"""The metric of OPS-06: one slice for each kind of fault."""
FRESH = 90.0
"""Days that a figure holds which no clause asks for."""


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One figure that decides: ``what`` for people, ``metric`` for evidence, and the limit. ``n`` is the sample."""

    what: str
    metric: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    n: int = 0

    @property
    def holds(self) -> bool:
        """Is the figure inside its limit? What is not a number is not."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    @property
    def verdict(self) -> str:
        """PASS or FAIL; empty where there is no limit."""
        return ("PASS" if self.holds else "FAIL") if self.limit else ""

    @property
    def limit(self) -> str:
        """``≤ 5``, ``≥ 0.9``, or nothing: it is only told."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""


def none(what: str, metric: str, bad: Sized, of: Sized, unit: str = "requests") -> Criterion:
    """The criterion that there is not one *bad* among those *of* which it was looked for."""
    return Criterion(what=what, metric=metric, value=len(bad), unit=unit, at_most=0, n=len(of))


class Drilled(msgspec.Struct, frozen=True, kw_only=True):
    """A drill that came to its end. ``fault``: it counts as a fault drill; ``inputs`` are the releases in it.

    ``at`` is seconds since 1970, ``seconds`` how long it took.
    """

    drill: str
    environment: str
    at: float
    seconds: float
    criteria: tuple[Criterion, ...]
    inputs: tuple[Digest, ...]
    fault: bool = True
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Does every criterion hold?"""
        return all(one.holds for one in self.criteria)

    @property
    def failures(self) -> str:
        """The criteria that do not hold, in words."""
        bad = [one for one in self.criteria if not one.holds]
        return "; ".join(f"{one.what} {one.value:.4g} {one.unit}, limit {one.limit}" for one in bad)


def facts_of(drilled: Drilled, subject: Subject, clauses: tuple[Clause, ...]) -> tuple[Evidence, ...]:
    """The evidence of *drilled* about *subject*; each fact holds for as long as the clause that asks for it says.

    A figure that is infinite (it never happened) becomes the largest number, which JSON can hold.
    """
    found = [(one.metric, min(one.value, 1e9), one.unit, one.n, "") for one in drilled.criteria]
    if drilled.fault:
        found.append((FAULTS, float(not drilled.passed), "drills", 1, drilled.drill))
    return tuple(
        Evidence(
            metric=metric,
            value=value,
            unit=unit,
            n=n,
            slice=slice_,
            subject=subject,
            inputs=drilled.inputs,
            produced_by=Producer(f"guideway/drill {drilled.drill}", __version__),
            at=drilled.at,
            valid_until=drilled.at + days_of(metric, clauses) * DAY,
        )
        for metric, value, unit, n, slice_ in found
    )


def days_of(metric: str, clauses: tuple[Clause, ...]) -> float:
    """How many days a proof of *metric* counts: the shortest that a clause says."""
    days = [check.days for one in clauses for check in one.checks if check.metric == metric and check.days]
    return min(days, default=FRESH)


def limit_of(metric: str, clauses: tuple[Clause, ...]) -> float:
    """The limit that the Standard, or the team's own stricter one, sets for *metric*.

    Raises:
        LookupError: no clause asks for it.
    """
    for one in clauses:
        for check in one.checks:
            if check.metric == metric and check.limit is not None:
                return check.limit
    raise LookupError(metric)
