"""How likely each token of an answer was, in the model's own scores, and when that may be told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from guideway.replica.backend import Logits

FLOOR = -9999.0
"""Stands for a probability of nothing, which JSON cannot write."""

Spell = Callable[[int], bytes]
"""What a token writes."""


class Mark(NamedTuple):
    """A token, its log-probability, the likeliest tokens in its place, and the character where its text begins."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]
    start: int = 0


def measure(logits: Logits, token: int, count: int) -> Mark:
    """The mark of *token* with the *count* likeliest in its place, by the scores before anything was done to them."""
    scores = logits.astype(np.float64)
    scores -= scores.max()
    scores -= np.log(np.exp(scores).sum())
    best = (
        np.argpartition(-scores, count - 1)[:count] if 0 < count < len(scores) else np.arange(min(count, len(scores)))
    )
    best = best[np.argsort(-scores[best], kind="stable")]
    return Mark(token, _finite(scores[token]), tuple((int(one), _finite(scores[one])) for one in best))


def _finite(logprob: float) -> float:
    return max(float(logprob), FLOOR)


class Trail:
    """Holds marks back until the text of their tokens is shown: a stop string may still take it away."""

    def __init__(self) -> None:
        self._held: deque[Mark] = deque()

    def add(self, mark: Mark, start: int) -> None:
        """Hold the mark of a token whose text begins at character *start* of the answer."""
        self._held.append(mark._replace(start=start))

    def until(self, shown: int) -> tuple[Mark, ...]:
        """The marks of all tokens whose text begins within the first *shown* characters, once each."""
        out = []
        while self._held and self._held[0].start < shown:
            out.append(self._held.popleft())
        return tuple(out)

    def rest(self) -> tuple[Mark, ...]:
        """All that are held."""
        out, self._held = tuple(self._held), deque()
        return out


def chat_logprobs(marks: Sequence[Mark], spell: Spell) -> dict[str, Any]:
    """Marks as chats tell them."""

    def told(token: int, logprob: float) -> dict[str, Any]:
        text = spell(token)
        return {"token": text.decode(errors="replace"), "logprob": logprob, "bytes": list(text)}

    content = [{**told(mark.token, mark.logprob), "top_logprobs": [told(*one) for one in mark.top]} for mark in marks]
    return {"content": content, "refusal": None}


def text_logprobs(marks: Sequence[Mark], spell: Spell) -> dict[str, Any]:
    """Marks as completions tell them."""

    def name(token: int) -> str:
        return spell(token).decode(errors="replace")

    return {
        "tokens": [name(mark.token) for mark in marks],
        "token_logprobs": [mark.logprob for mark in marks],
        "top_logprobs": [{name(token): logprob for token, logprob in mark.top} for mark in marks],
        "text_offset": [mark.start for mark in marks],
    }
