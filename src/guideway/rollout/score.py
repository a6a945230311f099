"""From outcomes to the evidence of every signal: the state that is committed together with the offset of the spool."""

from __future__ import annotations

from typing import Literal

import msgspec

from guideway.core.outcome import Outcome
from guideway.rollout.eprocess import EProcess, Tally
from guideway.rollout.inferiority import Estimate, log_inferiority, rate_upper, ratio
from guideway.rollout.overdue import Overdue
from guideway.rollout.plan import Plan
from guideway.rollout.quality import Pairs
from guideway.rollout.signals import NAMES, QUALITY, TOLERATED, Limits, events, late, run_out, tried
from guideway.rollout.units import Callers, Trials


class Score(msgspec.Struct):
    """What is known of one signal. ``requests`` it spoke of: of the stable release, of the candidate."""

    process: EProcess
    callers: Callers = msgspec.field(default_factory=Callers)
    trials: Trials = msgspec.field(default_factory=Trials)
    requests: tuple[int, int] = (0, 0)


class Reading(msgspec.Struct, frozen=True):
    """The numbers of one signal that a decision is made of, all that it takes to make it again.

    ``log_e`` and ``log_peak`` speak against the candidate (natural logarithms of E, now and at its highest);
    ``log_inferior`` for it: that its rate is below the margin of the plan. ``events`` and ``requests`` are of (stable,
    candidate); only events of units are counted. ``own_upper`` bounds the own rate from above, after ``own``
    = (requests, events). ``tally`` is what all of them but the peak follow from.
    """

    signal: str
    log_e: float = 0.0
    log_peak: float = 0.0
    log_inferior: float = 0.0
    events: tuple[int, int] = (0, 0)
    requests: tuple[int, int] = (0, 0)
    ratio: Estimate = Estimate()
    own: tuple[int, int] = (0, 0)
    own_upper: float = 1.0
    tally: Tally = msgspec.field(default_factory=dict)


class Scores(msgspec.Struct):
    """The evidence of one pair of releases. It runs through all steps; only a named person starts it anew.

    ``units`` counts by weight: of (stable, candidate). ``bounded`` names the signals whose own rate is bounded.
    ``overdue`` remembers the requests that were told of before they were over.
    """

    limits: Limits = Limits()
    bounded: tuple[str, ...] = ("errors",)
    signals: dict[str, Score] = msgspec.field(default_factory=dict)
    pairs: Pairs = msgspec.field(default_factory=Pairs)
    units: dict[float, tuple[int, int]] = msgspec.field(default_factory=dict)
    newest: float | None = None
    overdue: Overdue = msgspec.field(default_factory=Overdue)

    def take(self, outcome: Outcome) -> None:
        """Count one request; one that is no unit changes nothing.

        Of one that ran past a limit there may be several records, in any order: it counts once, and so does each of
        its events.
        """
        if outcome.why_not or not tried(outcome):
            return
        found = (run_out if outcome.overdue == "running" else events)(outcome, self.limits)
        is_new = True
        if outcome.overdue:
            is_new, found = self.overdue.news(outcome, found)
        self.newest = max(self.newest or outcome.at, outcome.at)
        if is_new:
            self.units[outcome.share] = _plus(self.units.get(outcome.share, (0, 0)), outcome)
        self._count(outcome, found)

    def take_late(
        self, outcome: Outcome, thumb: Literal["up", "down"] | None = None, other_language: bool | None = None
    ) -> None:
        """Count what was only learnt after the request that *outcome* tells of, and what it does not say itself."""
        if not outcome.why_not:
            self._count(outcome, late(thumb, other_language if outcome.other_language is None else None))

    def again(self) -> None:
        """Go on with this evidence in a retry of the same pair: all steps are taken anew, with draws of their own."""
        self.units = {}
        for score in self.signals.values():
            score.callers = Callers()

    def units_at(self, weight: float) -> int:
        """How many units there were at *weight*, of both arms."""
        return sum(self.units.get(weight, (0, 0)))

    def readings(self, plan: Plan) -> tuple[Reading, ...]:
        """Every signal as it stands, in the order of :data:`~guideway.rollout.signals.NAMES`."""
        return tuple(self._pairs() if name == QUALITY else self._reading(name, plan) for name in NAMES)

    def _count(self, outcome: Outcome, found: dict[str, bool]) -> None:
        for name, event in found.items():
            score = self._of(name)
            score.requests = _plus(score.requests, outcome)
            if name in self.bounded:
                score.trials.add(outcome, event)
            share = score.callers.score(outcome) if event else None
            if share is not None:
                score.process.add(share, outcome.arm == "candidate")

    def _of(self, name: str) -> Score:
        score = self.signals.get(name)
        if score is None:
            score = self.signals[name] = Score(EProcess(TOLERATED.get(name, 1.0)))
        return score

    def _reading(self, name: str, plan: Plan) -> Reading:
        score = self.signals.get(name)
        if score is None:
            return Reading(name)
        process, trials, error = score.process, score.trials, plan.error_each
        stable, candidate = zip(*process.tally.values(), strict=True) if process.tally else ((), ())
        return Reading(
            name,
            process.log_e,
            process.peak,
            log_inferiority(process.tally, plan.margin(name)),
            (sum(stable), sum(candidate)),
            score.requests,
            ratio(process.tally, error),
            (trials.requests, trials.events),
            1.0 if trials.full else rate_upper(trials.requests, trials.events, error),
            dict(process.tally),
        )

    def _pairs(self) -> Reading:
        pairs = self.pairs
        return Reading(QUALITY, pairs.log_e, pairs.peak, requests=(pairs.pairs, pairs.pairs))


def _plus(counts: tuple[int, int], outcome: Outcome) -> tuple[int, int]:
    stable, candidate = counts
    return (stable, candidate + 1) if outcome.arm == "candidate" else (stable + 1, candidate)
