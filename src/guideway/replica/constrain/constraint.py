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
BURST = 50_000
"""Steps of the automaton that one token may need: a tenth of a second. What people ask for needs some thousands."""
REFILL = 1_000
"""Steps that are allowed anew with every token: an answer that needs many all the time does not hold up the others."""
GROWTH = 25_000
"""Expressions that an answer may add to those of its schema before the old ones are forgotten."""

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
        self._full = self._make.count + GROWTH
        self._make.limit, self._make.left = self._full + BURST, BURST
        self._tokens, self._masks = tokens, Masks(tokens, self._make, json_.char)
        self._stop_ids = [token for token in stop_ids if token < tokens.count]
        self._kept: dict[Node, NDArray[np.uint8]] = {}

    holds = True
    """Does it rule out anything now?"""

    @property
    def over(self) -> bool:
        """Is the answer valid and unable to go on?"""
        return self._state is self._make.empty

    def __call__(self, logits: Logits) -> Logits:
        """*logits* with minus infinity for every token that may not come, as a new array.

        Raises:
            TooLargeError: to find them takes too long: too many ways are open.
        """
        self._make.left = min(BURST, self._make.left + REFILL)
        if self._make.count > self._full:
            self._make.keep(self._state)
            self._kept.clear()
        allowed = self._allowed()
        size = min(len(allowed), len(logits))
        ruled = np.full(len(logits), -np.inf, np.float32)
        np.copyto(ruled[:size], logits[:size], where=allowed[:size])
        return ruled

    def prepare(self) -> None:
        """Find out what may come first, before anybody waits for it.

        Raises:
            TooLargeError: too many ways are open there.
        """
        self._allowed()

    def push(self, token: int) -> None:
        """Go on with *token*, one that was allowed.

        Raises:
            TooLargeError: too many ways are open behind it.
            ValueError: it was not.
        """
        if not self.follow(self._tokens.spelled[token] or b""):
            raise ValueError("a token that was ruled out")

    def follow(self, text: bytes) -> bool:
        """Go on with *text* if it may come; False: it may not, and nothing has changed."""
        state = self._state
        for byte in text:
            following = self._make.step(state, byte)
            if following is None:
                return False
            state = following
        self._state = state
        return True

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


class Triggered(Constraint):
    """A constraint that begins behind *trigger*, if the model writes that; until then any token may come.

    A token may go on behind the trigger in the same breath. What it brings must fit, or nothing has begun.
    """

    def __init__(self, tokens: Tokens, form: Form, stop_ids: Collection[int], trigger: bytes) -> None:
        super().__init__(tokens, form, stop_ids)
        self._trigger, self._tail, self.holds = trigger, b"", False

    @property
    def over(self) -> bool:
        """Is the answer valid and unable to go on?"""
        return self.holds and super().over

    def __call__(self, logits: Logits) -> Logits:
        """*logits* with minus infinity for every token that may not come."""
        return super().__call__(logits) if self.holds else logits

    def push(self, token: int) -> None:
        """Go on with *token*.

        Raises:
            ValueError: it was ruled out.
        """
        if self.holds:
            super().push(token)
            return
        spelled = self._tokens.spelled[token] if token < self._tokens.count else None
        _, found, rest = (self._tail + (spelled or b"")).partition(self._trigger)
        self.holds = bool(found) and self.follow(rest)
        self._tail = (self._tail + (spelled or b""))[-len(self._trigger) + 1 :]
