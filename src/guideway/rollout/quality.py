"""Quality in pairs: golden prompts answered by both arms, each used once, as a bet that the candidate is no worse.

Under the null the expected difference of scores, candidate minus stable, is not below minus the tolerated loss. Each
stake multiplies its capital by ``1 - stake * (difference + tolerated)`` per pair; E is their mean with equal weights.
"""

from __future__ import annotations

import math

import msgspec

from guideway.rollout.eprocess import log_mean_exp

STAKES = (0.05, 0.1, 0.2, 0.35, 0.49)
"""Below a half, so that no capital is ever lost whole: a difference is at most 1, and so is what is tolerated."""


class Pairs(msgspec.Struct):
    """The evidence of paired scores against a candidate. ``used`` are the prompts that were asked already."""

    tolerated: float = 0.0
    logs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(STAKES))
    peak: float = 0.0
    pairs: int = 0
    total: float = 0.0
    used: set[str] = msgspec.field(default_factory=set)

    @property
    def log_e(self) -> float:
        """The natural logarithm of E now."""
        return log_mean_exp(self.logs)

    @property
    def difference(self) -> float:
        """The mean difference of scores, candidate minus stable; nan before the first pair."""
        return self.total / self.pairs if self.pairs else math.nan

    def add(self, prompt: str, candidate: float, stable: float) -> bool:
        """Bet on one pair of scores in [0, 1]; False: *prompt* was used before and tells nothing new."""
        difference = candidate - stable
        if prompt in self.used or not -1.0 <= difference <= 1.0:
            return False
        self.used.add(prompt)
        self.pairs += 1
        self.total += difference
        for at, stake in enumerate(STAKES):
            self.logs[at] += math.log1p(-stake * (difference + self.tolerated))
        self.peak = max(self.peak, self.log_e)
        return True
