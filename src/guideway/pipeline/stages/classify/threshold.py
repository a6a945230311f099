"""How sure a classifier must be before it names a class: chosen on validation rows, and on no others. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KEPT = 0.95
"""The share of validation rows that a threshold keeps where none of them is out of scope."""

Scores = NDArray[np.float64]
"""The probability of the best class, one for each row."""


def choose_threshold(inside: Scores, outside: Scores) -> float:
    """The threshold that tells rows of a class, *inside*, best from rows of none, *outside*.

    Best is where the shares of both that are judged rightly have the largest sum (Youden's index), the lowest of
    equals. Without rows that are out of scope it keeps ``KEPT`` of the others; without any row it is 0.
    """
    if not len(inside):
        return 0.0
    if not len(outside):
        return float(np.quantile(inside, 1 - KEPT, method="lower"))
    edges = np.unique(np.concatenate([inside, outside]))
    cuts = np.concatenate([[0.0], (edges[1:] + edges[:-1]) / 2])
    kept = 1.0 - np.searchsorted(np.sort(inside), cuts) / len(inside)
    refused = np.searchsorted(np.sort(outside), cuts) / len(outside)
    return float(cuts[int((kept + refused).argmax())])
