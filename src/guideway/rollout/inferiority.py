"""Evidence *for* a candidate: bounds that hold at any time, however often they are looked at.

A ratio lies above the upper bound only if the e-process with its null at that ratio, and its alternatives below it,
has not reached 1/a. So "non-inferior at 2" and "the upper bound is below 2" are one statement, and what a person reads
is what decides. The candidate's own rate is bounded by the same process on its odds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from guideway.rollout.eprocess import DELTAS, Tally, log_e, tilted

BELOW = tuple(-delta for delta in DELTAS)
_EVEN = 0.5
"""At this share the ratio of an event to no event is the odds."""
_FAR = 16.0
"""Logarithm of the largest ratio looked at."""
_HALVINGS = 40


class Estimate(msgspec.Struct, frozen=True):
    """A ratio of rates, candidate to stable, with an interval that holds at any time; None: not known, not bounded."""

    value: float | None = None
    low: float = 0.0
    high: float | None = None


def ratio(tally: Tally, alpha: float) -> Estimate:
    """The ratio of the candidate's rate of events to the stable one's; each end of the interval is wrong with *alpha*.

    ``value`` is the most likely ratio; None if the stable release had no event.
    """
    high = upper(tally, alpha)
    return Estimate(_likeliest(tally), _lower(tally, alpha), None if math.isinf(high) else high)


def upper(tally: Tally, alpha: float) -> float:
    """The smallest ratio that *tally* rules out from above with error *alpha*; infinite: none."""
    need = math.log(1.0 / alpha)
    if _log_inferior(tally, _FAR) < need:
        return math.inf
    return math.exp(_crossing(lambda at: _log_inferior(tally, at) >= need))


def log_inferiority(tally: Tally, margin: float) -> float:
    """log E against the null that the candidate's rate is *margin* times the stable one's, or more."""
    return log_e(tally, margin, BELOW)


def rate_upper(requests: int, events: int, alpha: float) -> float:
    """The smallest rate that *events* in *requests* rule out from above with error *alpha*, at any time; 1: none.

    Args:
        requests: trials of the candidate, each independent of the others.
    """
    odds = upper({_EVEN: (requests - events, events)}, alpha)
    return 1.0 if math.isinf(odds) else odds / (1.0 + odds)


def _lower(tally: Tally, alpha: float) -> float:
    need = math.log(1.0 / alpha)
    if log_e(tally, math.exp(-_FAR)) < need:
        return 0.0
    return math.exp(_crossing(lambda at: log_e(tally, math.exp(at)) < need))


def _log_inferior(tally: Tally, log_margin: float) -> float:
    return log_inferiority(tally, math.exp(log_margin))


def _crossing(true_above: Callable[[float], bool]) -> float:
    """Where a condition that holds above a point, and not below it, begins to hold."""
    low, high = -_FAR, _FAR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if true_above(middle) else (middle, high)
    return high


def _likeliest(tally: Tally) -> float | None:
    """Where as many events are expected of the candidate as were seen; both sides grow with the ratio."""
    stable = sum(one for one, _ in tally.values())
    own = sum(one for _, one in tally.values())
    if not stable or not own:
        return 0.0 if stable else None
    return math.exp(_crossing(lambda at: _expected(tally, math.exp(at)) >= own))


def _expected(tally: Tally, at: float) -> float:
    return sum((stable + own) * tilted(share, at) for share, (stable, own) in tally.items())
