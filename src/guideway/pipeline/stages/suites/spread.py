"""How sure a figure of lm-eval is. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from guideway.core.evidence import Interval
from guideway.pipeline.stages.intervals import LEVEL, Z, bootstrap, wilson


def spread_of(value: float, each: Sequence[Any], stderr: Any, seed: int) -> Interval | None:
    """Where the true figure lies: by Wilson for shares, by the bootstrap for means, else by the library's own error.

    lm-eval's standard error of a share of 0 or 1 is 0, which says that nothing can be otherwise: it is not used there.
    A pair of each row is a log probability and the words or bytes that it is of. None: nothing tells how sure it is.
    """
    if len(each) > 1 and all(isinstance(one, list | tuple) and len(one) == 2 for one in each):
        found = _weighted(value, [float(one) for one, _ in each], [int(weight) for _, weight in each], seed)
        if found:
            return found
    plain = [float(one) for one in each if isinstance(one, bool | int | float)]
    if plain and len(plain) == len(each) and math.isclose(sum(plain) / len(plain), value, abs_tol=1e-9):
        if all(one in (0.0, 1.0) for one in plain):
            return wilson(round(sum(plain)), len(plain))
        return bootstrap(plain, [1] * len(plain), seed)
    if isinstance(stderr, int | float) and math.isfinite(stderr) and stderr > 0:
        return Interval(value - Z * stderr, value + Z * stderr, LEVEL, "normal")
    return None


def _weighted(value: float, logs: Sequence[float], weights: Sequence[int], seed: int) -> Interval | None:
    """The bootstrap of a perplexity or of bits, whichever of both *value* is; None: it is neither."""
    sums = [-one for one in logs]
    for shape in (math.exp, _bits):
        if sum(weights) and math.isclose(shape(sum(sums) / sum(weights)), value, rel_tol=1e-9):
            return bootstrap(sums, weights, seed, shape)
    return None


def _bits(nats: float) -> float:
    return nats / math.log(2)
