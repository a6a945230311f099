"""The space of a search, and the trials in it: plain values, which know no library."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from guideway.core.spec import Train, Tune
from guideway.core.spec.tune import Dimension, Value, grid, value_at, values_of

POINTS = 10
"""Validations of a training, evenly over its steps."""
State = Literal["running", "complete", "pruned", "failed"]


class Trial(msgspec.Struct, frozen=True):
    """One trial as the record holds it.

    ``curve`` are validation losses (nats per token for language models) at the points of the training, each a tenth
    of its steps; with folds, the points are whole folds, and at each is the mean over those so far. ``loss`` is what
    judges it, ``folds`` the loss on each fold; ``reason`` says why it failed.
    """

    number: int
    parameters: dict[str, Value]
    seed: int
    state: State
    loss: float | None = None
    curve: dict[int, float] = {}
    folds: tuple[float, ...] = ()
    reason: str = ""


def seed_of(seed: int, *what: str | int) -> int:
    """A seed for one purpose, in [0, 2^31): it depends on the seed of the search and on *what* alone."""
    text = json.dumps([seed, *what])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) >> 1


def defaults(tune: Tune, train: Train) -> dict[str, Any]:
    """What ``train`` says of the keys that are searched."""
    return {key: value_at(train, key) for key in tune.search}


def first(tune: Tune, train: Train) -> dict[str, Any] | None:
    """The defaults as the first trial; None where they lie outside the space, so that no trial can have them."""
    found = defaults(tune, train)
    return found if all(_inside(one, found[key]) for key, one in tune.search.items()) else None


def points(tune: Tune) -> list[dict[str, Value]]:
    """Every point of the grid, in an order that the seed of the search draws."""
    found = grid(tune)
    random.Random(tune.seed).shuffle(found)
    return found


def count(tune: Tune) -> int:
    """How many trials there will be at the most."""
    return min(tune.trials, len(grid(tune))) if tune.sampler == "grid" else tune.trials


def points_of(tune: Tune) -> int:
    """How many times a trial is judged."""
    return tune.folds or POINTS


def best_of(trials: Mapping[int, Trial]) -> Trial | None:
    """The trial with the lowest loss that ran to its end; of equals the first."""
    done = [one for one in trials.values() if one.state == "complete" and one.loss is not None]
    return min(done, key=lambda one: (one.loss, one.number), default=None)


def _inside(dimension: Dimension, value: Any) -> bool:
    if dimension.choices:
        return value in dimension.choices
    if not isinstance(value, int | float) or dimension.low is None or dimension.high is None:
        return False
    if dimension.step is None:
        return dimension.low <= value <= dimension.high
    return any(abs(value - float(one)) < 1e-9 for one in values_of(dimension, whole=False))
