"""What an explanation is: a text cut into tokens, and how much each of them adds to a score. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Masks = npt.NDArray[np.bool_]
"""One row per variant of a text, one column per token: True where the token is kept."""
Value = Callable[[Masks], Floats]
"""The score of the target under every variant: [variants, tokens] to [variants]. A class or an answer alike."""

MOST_TOKENS = 256
"""Tokens of one text at the most: in a longer one, neighbours are left out together."""
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Kana and ideographs: each is a token, for nothing stands between their words."""
_TOKEN = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+|[^\w\s]")


class Token(NamedTuple):
    """A word, an ideograph or a mark: its text, and its characters ``[start, end)`` in the whole."""

    text: str
    start: int
    end: int


class Attribution(msgspec.Struct, frozen=True):
    """What each token of *text* adds to the score of *target*. ``unit`` is that of weights and scores.

    ``score`` is that of the whole text, ``baseline`` that of the text with every token left out.
    """

    text: str
    tokens: tuple[Token, ...]
    weights: tuple[float, ...]
    target: str
    method: str
    score: float
    baseline: float
    unit: str


def tokens_of(text: str, most: int = MOST_TOKENS) -> tuple[Token, ...]:
    """The tokens of *text*, in order; neighbours as one where there are more than *most*."""
    found = [match.span() for match in _TOKEN.finditer(text)]
    each = max(1, -(-len(found) // most))
    spans = [(found[at][0], found[min(at + each, len(found)) - 1][1]) for at in range(0, len(found), each)]
    return tuple(Token(text[start:end], start, end) for start, end in spans)


def variant(text: str, tokens: Sequence[Token], kept: Sequence[bool] | Masks) -> str:
    """*text* with the *kept* tokens only. What stands before a token goes with it; what ends the text stays."""
    ends = [0, *(token.end for token in tokens)]
    pieces = [text[ends[at] : token.end] for at, token in enumerate(tokens) if kept[at]]
    whole = "".join(pieces) + text[ends[-1] :]
    return whole if len(kept) == 0 or kept[0] else whole.lstrip()


def remembered(value: Value) -> Value:
    """The same scores, each variant scored once: methods and tests ask for many of them again."""
    known: dict[bytes, float] = {}

    def asked(masks: Masks) -> Floats:
        names = [mask.tobytes() for mask in masks]
        new = {name: row for row, name in enumerate(names) if name not in known}
        if new:
            known.update(zip(new, map(float, value(masks[list(new.values())])), strict=True))
        return np.array([known[name] for name in names])

    return asked


def attribute(
    text: str, tokens: Sequence[Token], weights: Floats, value: Value, *, target: str, method: str, unit: str
) -> Attribution:
    """The explanation that *weights* are, with the scores of the whole text and of nothing."""
    ends = np.stack([np.ones(len(tokens), bool), np.zeros(len(tokens), bool)])
    score, baseline = value(ends)
    return Attribution(
        text=text,
        tokens=tuple(tokens),
        weights=tuple(map(float, weights)),
        target=target,
        method=method,
        score=float(score),
        baseline=float(baseline),
        unit=unit,
    )
