"""How sure a figure is: Wilson's interval for shares, the bootstrap over rows for means. Deterministic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from guideway.core.evidence import Interval

LEVEL = 0.95
Z = 1.959963984540054
RESAMPLES = 1000


def wilson(hits: int, n: int) -> Interval:
    """Where the true share lies when *hits* of *n* independent trials hit."""
    if n == 0:
        return Interval(0.0, 1.0, LEVEL, "wilson")
    share, spread = hits / n, Z * Z / n
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return Interval(max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)), LEVEL, "wilson")


def bootstrap(
    sums: Sequence[float], counts: Sequence[int], seed: int, shape: Callable[[float], float] = lambda mean: mean
) -> Interval:
    """Where the mean per token lies, when rows are drawn again: row *i* has *counts[i]* tokens that sum to *sums[i]*.

    *shape* is a rising function of the mean, such as ``math.exp`` for a perplexity.
    """
    total, weight = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    draw = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for sample in range(RESAMPLES):
        rows = draw.integers(0, len(total), len(total))
        means[sample] = total[rows].sum() / weight[rows].sum()
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mean = float(total.sum() / weight.sum())
    return Interval(shape(min(float(low), mean)), shape(max(float(high), mean)), LEVEL, "bootstrap")


def resampled(statistic: Callable[[npt.NDArray[np.int64]], float], rows: int, seed: int) -> Interval:
    """Where *statistic*, a function of the numbers of rows, lies when *rows* rows are drawn again."""
    draw = np.random.default_rng(seed)
    found = [statistic(draw.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = statistic(np.arange(rows))
    return Interval(min(float(low), value), max(float(high), value), LEVEL, "bootstrap")
