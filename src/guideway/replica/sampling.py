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
    """The tokens that may come next and their shares, which sum to 1. ``temperature`` is above 0.

    First ``temperature``, then ``top_k``, then ``top_p``; of equal scores the smaller token is kept.
    """
    scaled = (logits.astype(np.float64) - float(logits.max())) / temperature
    tokens = _best(scaled, top_k) if 0 < top_k < len(scaled) else np.arange(len(scaled))
    weights = np.exp(scaled[tokens])
    shares = weights / weights.sum()
    return _nucleus(tokens, shares, top_p) if top_p < 1.0 else (tokens, shares)


def _best(scores: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """The *count* tokens with the best scores, smallest token first."""
    worst = np.partition(scores, -count)[-count]
    above, equal = np.flatnonzero(scores > worst), np.flatnonzero(scores == worst)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def _nucleus(
    tokens: NDArray[np.int64], shares: NDArray[np.float64], top_p: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The fewest tokens that together have the share *top_p*, likeliest first."""
    # All below this share together have less than 1 - top_p: they cannot belong, and sorting them is dear.
    heavy = shares >= (1.0 - top_p) / len(shares)
    tokens, shares = tokens[heavy], shares[heavy]
    order = np.argsort(-shares, kind="stable")
    tokens, shares = tokens[order], shares[order]
    count = int(np.searchsorted(np.cumsum(shares), top_p)) + 1
    tokens, shares = tokens[:count], shares[:count]
    return tokens, shares / shares.sum()


def choose(tokens: NDArray[np.int64], shares: NDArray[np.float64], draw: float) -> int:
    """The token whose slice of [0, 1) holds *draw*."""
    place = int(np.searchsorted(np.cumsum(shares), draw, side="right"))
    if place == len(tokens):  # by rounding; the last of them may have been ruled out
        place = int(np.flatnonzero(shares)[-1])
    return int(tokens[place])
