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
    None: nothing tells how sure it is.
    """
    plain = [float(one) for one in each if isinstance(one, bool | int | float)]
    if plain and len(plain) == len(each) and math.isclose(sum(plain) / len(plain), value, abs_tol=1e-9):
        if all(one in (0.0, 1.0) for one in plain):
            return wilson(round(sum(plain)), len(plain))
        return bootstrap(plain, [1] * len(plain), seed)
    if isinstance(stderr, int | float) and math.isfinite(stderr) and stderr > 0:
        return Interval(value - Z * stderr, value + Z * stderr, LEVEL, "normal")
    return None
