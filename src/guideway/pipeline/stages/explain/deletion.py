"""The deletion test: are the tokens that an explanation names first really those that matter? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from guideway.core.evidence import Interval
from guideway.pipeline.stages.explain.attribution import Floats, Masks, Value
from guideway.pipeline.stages.intervals import bootstrap

SHARES = tuple(share / 10 for share in range(1, 10))
"""Shares of the tokens that are deleted. At none and at all, every order does the same."""
ORDERS = 8
"""Random orders that each explanation is held against."""


class Deletion(NamedTuple):
    """How far the score fell at each of ``SHARES``: by the explanation's order, and by chance on average."""

    explained: tuple[float, ...]
    chance: tuple[float, ...]

    @property
    def gain(self) -> float:
        """The area between both curves over the shares: how much further the score falls than by chance."""
        return float(np.mean(np.subtract(self.explained, self.chance)))


class Faithfulness(NamedTuple):
    """The mean gain over *n* texts, and where the true one lies."""

    gain: float
    n: int
    interval: Interval

    @property
    def above_chance(self) -> bool:
        """Is the gain surely more than nothing?"""
        return self.interval.low > 0


def deletion(value: Value, weights: Floats | Sequence[float], seed: Sequence[int]) -> Deletion | None:
    """Delete what *weights* put first, and the same number in random orders; None for a text of a single token."""
    tokens = len(weights)
    if tokens < 2:
        return None
    draw = np.random.default_rng(list(seed))
    by_weight = np.argsort(-np.asarray(weights), kind="stable")
    orders = [by_weight, *(draw.permutation(tokens) for _ in range(ORDERS))]
    whole = np.ones((1, tokens), bool)
    scores = value(np.concatenate([whole, *(_deleted(order) for order in orders)]))
    falls = scores[0] - scores[1:].reshape(len(orders), len(SHARES))
    return Deletion(tuple(map(float, falls[0])), tuple(map(float, falls[1:].mean(axis=0))))


def faithfulness(found: Sequence[Deletion], seed: int) -> Faithfulness | None:
    """The mean gain with a bootstrap interval over texts; None when there is no text to speak of."""
    if not found:
        return None
    gains = [one.gain for one in found]
    return Faithfulness(float(np.mean(gains)), len(gains), bootstrap(gains, [1] * len(gains), seed))


def _deleted(order: npt.NDArray[np.integer[Any]]) -> Masks:
    """Variants without the first tokens of *order*, one for each share; always one token goes and one stays."""
    masks = np.ones((len(SHARES), len(order)), bool)
    for row, share in enumerate(SHARES):
        masks[row, order[: min(max(1, round(share * len(order))), len(order) - 1)]] = False
    return masks
