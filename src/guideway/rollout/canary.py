"""All that is known of one canary: it is written down together with how far the spool of outcomes was read."""

from __future__ import annotations

import msgspec

from guideway.core.outcome import Outcome
from guideway.rollout.baseline import COUNTED
from guideway.rollout.decide import Decision, Guard
from guideway.rollout.inferiority import ratio
from guideway.rollout.score import Scores
from guideway.rollout.signals import QUANTILES, Limits, events
from guideway.rollout.units import Mode

_EVEN = 0.5
_ALPHA_AFTER = 0.01
"""The chance that a good release that got all traffic is ever said to fail too often."""


class Compared(msgspec.Struct):
    """What became of the copies that a shadow answered, while the real answer was good.

    ``same`` of the ``known`` ones said the same; ``late`` ones took longer than 95 % of the stable release's answers.
    """

    copies: int = 0
    failed: int = 0
    known: int = 0
    same: int = 0
    late: int = 0

    def take(self, outcome: Outcome, limits: Limits) -> None:
        """Count one copy."""
        self.copies += 1
        self.failed += bool(outcome.failure) or outcome.status != 200
        self.known += outcome.same is not None
        self.same += outcome.same is True
        tail = limits.latency[QUANTILES.index(0.95)] if limits.latency else None
        self.late += tail is not None and outcome.latency is not None and outcome.latency > tail


class Canary(msgspec.Struct):
    """``step`` is the place in the plan, -1 before the first; ``held`` the seconds it has been held so far.

    ``mode`` says who is drawn, fixed before the first step. ``decision`` is the latest, ``told`` the kind of the last
    one that the ledger knows. ``after`` counts requests of the candidate once it had all traffic, and their errors.
    ``golden`` says how far the golden prompts are, ``guards`` are the latest.
    """

    scores: Scores = msgspec.field(default_factory=Scores)
    step: int = -1
    held: float = 0.0
    mode: Mode = "request"
    compared: Compared = msgspec.field(default_factory=Compared)
    decision: Decision | None = None
    told: str = ""
    after: tuple[int, int] = (0, 0)
    alerted: bool = False
    golden: str = ""
    guards: tuple[Guard, ...] = ()

    def take(self, outcome: Outcome, rollout: str) -> bool:
        """Count one request; False: it tells nothing of this *rollout*."""
        if outcome.rollout != rollout:
            return False
        if outcome.why_not == "shadow":
            self.compared.take(outcome, self.scores.limits)
            return True
        self.scores.take(outcome)
        return not outcome.why_not

    def take_after(self, outcome: Outcome, release: str) -> None:
        """Count one request of the promoted *release* (short digest), which nothing is compared with any more."""
        if outcome.release != release or outcome.why_not not in COUNTED or outcome.overdue == "running":
            return
        requests, errors = self.after
        self.after = requests + 1, errors + bool(events(outcome, Limits()).get("errors"))

    def fails_too_often(self, objective: float) -> float | None:
        """The rate of errors that the promoted release exceeds for certain, if that is above *objective*."""
        requests, errors = self.after
        low = ratio({_EVEN: (requests - errors, errors)}, _ALPHA_AFTER).low if errors else 0.0
        rate = low / (1.0 + low)
        return rate if rate > objective else None
