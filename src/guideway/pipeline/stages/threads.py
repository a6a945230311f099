"""How many threads a model is worth."""

from __future__ import annotations

import os

WEIGHTS_PER_THREAD = 1_000_000
"""A thread with less to do waits for the others at every operation, and far longer when the cores are shared."""


def threads_for(weights: int) -> int:
    """Threads for a model of so many *weights*: one for a small model, at most as many as there are cores for us."""
    return max(1, min(len(os.sched_getaffinity(0)), weights // WEIGHTS_PER_THREAD))


def cores_of(place: int, places: int) -> set[int]:
    """The cores of one of several *places* that work at once: ours dealt out in turn, at least one each."""
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[place::places]) or {cores[place % len(cores)]}
