"""One answer that must be valid: what it may go on with, token by token."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
from numpy.typing import NDArray

from guideway.replica.backend import Logits
from guideway.replica.constrain.automaton import Expressions, Node
from guideway.replica.constrain.grammar import Json
from guideway.replica.constrain.masks import Mask, Masks, Tokens

STATES = 512
"""Masks that one answer keeps, one bit per token each."""

Form = Callable[[Expressions, Json], Node]
"""Makes the expression of all valid answers."""


class Constraint:
    """Rules tokens out so that the answer is what *form* says, or is cut off by its length.

    Nothing is shared between answers but *tokens*: what one caller asks for makes no other caller's answer faster.

    Args:
        form: called once; what it raises passes through.
        stop_ids: tokens that end an answer, allowed where it is valid as it stands.
    """

    def __init__(self, tokens: Tokens, form: Form, stop_ids: Collection[int]) -> None:
        self._make = Expressions()
        json_ = Json(self._make)
        self._state = json_.text(form(self._make, json_))
        self._tokens, self._masks = tokens, Masks(tokens, self._make, json_.char)
        self._stop_ids = [token for token in stop_ids if token < tokens.count]
        self._kept: dict[Node, NDArray[np.uint8]] = {}

    @property
    def over(self) -> bool:
        """Is the answer valid and unable to go on?"""
        return self._state is self._make.empty

    def __call__(self, logits: Logits) -> Logits:
        """*logits* with minus infinity for every token that may not come, as a new array."""
        allowed = self._allowed()
        size = min(len(allowed), len(logits))
        ruled = np.full(len(logits), -np.inf, np.float32)
        np.copyto(ruled[:size], logits[:size], where=allowed[:size])
        return ruled

    def push(self, token: int) -> None:
        """Go on with *token*, one that was allowed.

        Raises:
            ValueError: it was not.
        """
        for byte in self._tokens.spelled[token] or b"":
            following = self._make.step(self._state, byte)
            if following is None:
                raise ValueError("a token that was ruled out")
            self._state = following

    def _allowed(self) -> Mask:
        key = self._masks.known_as(self._state)
        kept = self._kept.get(key)
        if kept is None:
            mask = self._masks.mask(key)
            mask[self._stop_ids] = key.nullable
            kept = np.packbits(mask)
            if len(self._kept) < STATES:
                self._kept[key] = kept
        return np.unpackbits(kept, count=self._tokens.count).view(np.bool_)
