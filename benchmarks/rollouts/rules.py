"""The rules of others, on the same simulated traffic: fixed thresholds as documented, and tests that peek."""

from __future__ import annotations

import numpy as np

from benchmarks.rollouts.arrays import NEVER
from benchmarks.rollouts.worlds import Bools, Traffic

PER_MINUTE = 1200
"""Requests: 20 a second."""
LOOK, LOOK_AT_LATENCY = 100, 1000
"""Requests between two looks of the tests that peek."""
ONE_PERCENT = 2.326
"""The standard normal quantile that a one-sided test at 1 % compares with."""


def argo(traffic: Traffic, minutes: int = 5) -> int:
    """Argo Rollouts' success-rate template: success ≥ 0.95 every 5 minutes; more than 3 failures abort."""
    return _windows(traffic, minutes * PER_MINUTE, success=0.95, failures=4)


def argo_each_minute(traffic: Traffic) -> int:
    """The same template looked at each minute."""
    return argo(traffic, minutes=1)


def flagger(traffic: Traffic) -> int:
    """Flagger's builtin check: request-success-rate at least 99 % over 1 minute; the fifth failed check rolls back."""
    return _windows(traffic, PER_MINUTE, success=0.99, failures=5)


def _windows(traffic: Traffic, size: int, success: float, failures: int) -> int:
    failed = 0
    for begin in range(0, len(traffic.weight) - size + 1, size):
        here = slice(begin, begin + size)
        asked = traffic.candidate[here]
        if asked.any() and 1.0 - traffic.events["errors"][here][asked].mean() < success:
            failed += 1
        if failed >= failures:
            return begin + size - 1
    return NEVER


def z_test(traffic: Traffic) -> int:
    """A two-proportion z-test on errors, pooled, one-sided at 1 %, every hundred requests."""
    looks = np.arange(LOOK, len(traffic.weight) + 1, LOOK) - 1
    own, errors = traffic.candidate, traffic.events["errors"]
    n1, n0 = np.cumsum(own)[looks], np.cumsum(~own)[looks]
    x1, x0 = np.cumsum(own & errors)[looks], np.cumsum(~own & errors)[looks]
    pooled = (x1 + x0) / (n1 + n0)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n1, 1) + 1 / np.maximum(n0, 1)))
    z = (x1 / np.maximum(n1, 1) - x0 / np.maximum(n0, 1)) / np.maximum(spread, 1e-12)
    return _first(looks, (z > ONE_PERCENT) & (n1 > 0))


def mann_whitney(traffic: Traffic) -> int:
    """A Mann-Whitney test on latency, one-sided at 1 %, every thousand requests."""
    looks = np.arange(LOOK_AT_LATENCY, len(traffic.weight) + 1, LOOK_AT_LATENCY) - 1
    for look in looks:
        if _rank_z(traffic, int(look) + 1) > ONE_PERCENT:
            return int(look)
    return NEVER


def _rank_z(traffic: Traffic, count: int) -> float:
    own = traffic.candidate[:count]
    mine = own[np.argsort(traffic.latency[:count])]
    n1, n0 = int(own.sum()), int((~own).sum())
    u = float((np.flatnonzero(mine) + 1).sum()) - n1 * (n1 + 1) / 2
    spread = float(np.sqrt(n1 * n0 * (n1 + n0 + 1) / 12)) or 1.0
    return (u - n1 * n0 / 2) / spread


def _first(looks: np.ndarray[tuple[int], np.dtype[np.int64]], over: Bools) -> int:
    found = np.flatnonzero(over)
    return int(looks[found[0]]) if len(found) else NEVER


RULES = {
    "Argo Rollouts, 5 min": argo,
    "Argo Rollouts, 1 min": argo_each_minute,
    "Flagger, 1 min": flagger,
    "z-test, peeking": z_test,
    "Mann-Whitney, peeking": mann_whitney,
}
