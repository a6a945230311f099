"""From scores to the next token. The same seed gives the same text, whoever else is in the batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from guideway.replica.backend import Logits


class Sampler:
    """Chooses tokens for one request, with random numbers of its own: one draw per token.

    Args:
        temperature: 0 is greedy, and then nothing is drawn.
        top_p: keep the fewest likeliest tokens that together have this share; 1 keeps all.
        top_k: keep so many likeliest tokens; 0 keeps all.
        seed: any integer.
    """

    def __init__(self, temperature: float, top_p: float, top_k: int, seed: int) -> None:
        self._temperature, self._top_p, self._top_k = temperature, top_p, top_k
        self._random = np.random.Generator(np.random.Philox(seed % 2**64))

    def __call__(self, logits: Logits) -> int:
        """The next token.

        Raises:
            FloatingPointError: the model gave no usable score.
        """
        if not np.isfinite(logits.max()):
            raise FloatingPointError("the model gave no usable score")
        if self._temperature == 0.0:
            return int(logits.argmax())
        tokens, shares = candidates(logits, self._temperature, self._top_p, self._top_k)
        return choose(tokens, shares, self._random.random())


def candidates(
    logits: Logits, temperature: float, top_p: float, top_k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The tokens that may come next, likeliest first, and their shares, which sum to 1.

    First ``temperature``, then ``top_k``, then ``top_p``; of equal scores the smaller token comes first.
    """
    scaled = (logits.astype(np.float64) - float(logits.max())) / temperature
    tokens = np.arange(len(scaled))
    if 0 < top_k < len(scaled):
        tokens = np.flatnonzero(scaled >= np.partition(scaled, -top_k)[-top_k])
    weights = np.exp(scaled[tokens])
    total = weights.sum()
    if top_p < 1.0:
        # All tokens below this weight together have less than 1 - top_p: they cannot matter, and sorting is dear.
        light = weights < (1.0 - top_p) * total / len(weights)
        tokens, weights = tokens[~light], weights[~light]
    order = np.argsort(-weights, kind="stable")[: top_k or None]
    tokens, weights = tokens[order], weights[order]
    if top_p < 1.0:
        limit = top_p * (total if top_k == 0 else _sum_of_first(scaled, top_k))
        keep = int(np.searchsorted(np.cumsum(weights), limit)) + 1
        tokens, weights = tokens[:keep], weights[:keep]
    return tokens, weights / weights.sum()


def choose(tokens: NDArray[np.int64], shares: NDArray[np.float64], draw: float) -> int:
    """The token whose slice of [0, 1) holds *draw*."""
    place = int(np.searchsorted(np.cumsum(shares), draw, side="right"))
    return int(tokens[min(place, len(tokens) - 1)])
