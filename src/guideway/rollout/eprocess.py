"""The mixture e-process: how strongly the events seen so far speak against a candidate, at any time.

Only events are looked at, so that a fault of both arms moves nothing. Under the null an event is the candidate's with
probability ``r·share / (1 - share + r·share)``, where *r* is the ratio of rates that is tolerated. For every ratio of
the grid above that, the likelihood ratio of what was seen is a martingale; E is their mean with equal weights, so that
the chance that E *ever* reaches 1/a is at most a, however often it is looked at.

After Lindon & Malek (NeurIPS 2022) and Howard & Ramdas (2022).
"""

from __future__ import annotations

import math

import msgspec

GRID = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""The alternatives: by what further factor the candidate's rate may be worse."""
DELTAS = tuple(math.log(ratio) for ratio in GRID)
SHARES_KEPT = 256
"""Distinct shares that one process keeps apart. A rollout has about ten; an event at one share more is not scored."""

Tally = dict[float, tuple[int, int]]
"""Events by the share at which they were assigned: (of the stable release, of the candidate)."""


class EProcess(msgspec.Struct):
    """The evidence of one signal against a candidate: all that is kept, and all that is needed to compute it again.

    ``tolerated`` is the ratio of rates that is no fault. ``logs`` are the logarithms of the seven likelihood ratios,
    ``peak`` is the largest ``log_e`` there has been: a verdict once reached stays. The order of events matters to the
    peak only; everything else follows from ``tally``.
    """

    tolerated: float = 1.0
    logs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(GRID))
    peak: float = 0.0
    tally: Tally = msgspec.field(default_factory=dict)

    @property
    def log_e(self) -> float:
        """The natural logarithm of E now."""
        return log_mean_exp(self.logs)

    def add(self, share: float, candidate: bool) -> None:
        """Score one event: it was to be the candidate's with probability *share*, and was (*candidate*), or was not.

        A share of 0 or 1 tells nothing and changes nothing.
        """
        if not 0.0 < share < 1.0 or (share not in self.tally and len(self.tally) >= SHARES_KEPT):
            return
        stable, own = self.tally.get(share, (0, 0))
        self.tally[share] = (stable, own + 1) if candidate else (stable + 1, own)
        null = tilted(share, self.tolerated)
        for at, delta in enumerate(DELTAS):
            self.logs[at] += (delta if candidate else 0.0) - math.log1p(null * math.expm1(delta))
        self.peak = max(self.peak, self.log_e)


def tilted(share: float, ratio: float) -> float:
    """The probability that an event is the candidate's if its rate is *ratio* times that of the stable release."""
    return share * ratio / (1.0 - share + share * ratio)


def log_e(tally: Tally, null: float, deltas: tuple[float, ...] = DELTAS) -> float:
    """log E of *tally* against the ratio *null*, with alternatives at *null* · exp(delta): negative: below."""
    return log_mean_exp([_log_ratio(tally, null, delta) for delta in deltas])


def _log_ratio(tally: Tally, null: float, delta: float) -> float:
    total = 0.0
    for share, (stable, candidate) in tally.items():
        step = math.log1p(tilted(share, null) * math.expm1(delta))
        total += delta * candidate - step * (stable + candidate)
    return total


def log_mean_exp(logs: list[float]) -> float:
    """The logarithm of the mean of exp(*logs*), without ever leaving what a float holds."""
    top = max(logs)
    return top + math.log(sum(math.exp(one - top) for one in logs) / len(logs))
