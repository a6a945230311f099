"""Which tokens may come next: the tokens' bytes, sorted, walked through the automaton.

Most tokens are plain text, and inside a string all of them are allowed; so these are looked up and never walked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from guideway.replica.constrain.automaton import Alt, Expressions, Many, Node, Seq, shared
from guideway.replica.constrain.grammar import ESCAPE, QUOTE, TAIL

Mask = NDArray[np.bool_]
"""One truth value per token."""
SEEN = range(0x20, 0x7F)
"""The letters and signs that JSON is written with."""


class Tokens:
    """The bytes of all tokens, in the orders that masks need. Made once for a tokenizer.

    ``spelled[token]`` is what a token writes; None or nothing for one that writes no text.
    """

    def __init__(self, spelled: Sequence[bytes | None]) -> None:
        self.count = len(spelled)
        self.spelled = spelled
        lengths = np.array([_plain_length(text) for text in spelled], np.int32)
        self.longest = max((len(text) for text in spelled if text), default=0)
        self.plain_lengths = np.where(lengths > 0, lengths, np.iinfo(np.int32).max)
        written = [(text, token) for token, text in enumerate(spelled) if text]
        self.all = Sorted(written)
        self.other = Sorted((text, token) for text, token in written if not lengths[token])

    @property
    def complete(self) -> bool:
        """Is there always a token to go on with? Where some break a character, its other bytes must be tokens too."""
        singles = {text[0] for text in self.all.texts if len(text) == 1}
        return singles.issuperset(SEEN) and (singles.issuperset(TAIL) or all(map(_whole, self.all.texts)))


class Sorted:
    """Texts in order, and how much each shares with the one before it."""

    def __init__(self, written: Iterable[tuple[bytes, int]]) -> None:
        pairs = sorted(written)
        self.texts, self.ids = [text for text, _ in pairs], [token for _, token in pairs]
        self.shared = [0, *(shared(one, other) for one, other in zip(self.texts, self.texts[1:], strict=False))]


class Masks:
    """Masks for the states of *make*. ``char`` is the expression of one character of a string."""

    def __init__(self, tokens: Tokens, make: Expressions, char: Node) -> None:
        self._tokens, self._make, self._char = tokens, make, char

    def mask(self, state: Node) -> Mask:
        """The tokens that may come in *state*."""
        allowed = np.zeros(self._tokens.count, np.bool_)
        self._allow(state, allowed)
        return allowed

    def known_as(self, state: Node) -> Node:
        """A state with the same mask, the same for many: no token is longer than the longest."""
        if isinstance(state, Alt):
            return self._make.alt(*(self.known_as(branch) for branch in state.branches))
        head = state.head if isinstance(state, Seq) else None
        if isinstance(head, Many) and head.high is not None and head.high > self._tokens.longest + 1:
            assert isinstance(state, Seq)
            low = min(head.low, self._tokens.longest + 1)
            return self._make.seq(self._make.many(head.inner, low, self._tokens.longest + 1), state.tail)
        return state

    def _allow(self, state: Node, allowed: Mask) -> None:
        branches = state.branches if isinstance(state, Alt) else {state}
        texts = {branch for branch in branches if self._letters(branch)}
        if texts:
            np.less_equal(self._tokens.plain_lengths, max(map(self._letters, texts)), out=allowed)
            self._walk(self._tokens.other, self._make.alt(*texts), allowed)
        if others := branches - texts:
            self._walk(self._tokens.all, self._make.alt(*others), allowed)

    def _letters(self, state: Node) -> int:
        """How many characters of a string may come in *state*; 0 where none is within a string."""
        head = state.head if isinstance(state, Seq) else None
        if isinstance(head, Many) and head.inner is self._char:
            return self._tokens.longest if head.high is None else head.high
        return 0

    def _walk(self, tokens: Sorted, state: Node, allowed: Mask) -> None:
        """Allow those of *tokens* whose every byte has a step; what begins with a dead end is skipped in one."""
        texts, shared, ids, step = tokens.texts, tokens.shared, tokens.ids, self._make.step
        states, at = [state], 0
        while at < len(texts):
            text = texts[at]
            del states[shared[at] + 1 :]
            for place in range(len(states) - 1, len(text)):
                following = step(states[-1], text[place])
                if following is None:
                    at = bisect_left(texts, _behind(text[: place + 1]), at + 1)
                    break
                states.append(following)
            else:
                allowed[ids[at]] = True
                at += 1


def _whole(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _plain_length(text: bytes | None) -> int:
    """Characters of a token that may stand in any string as they are; 0 for all other tokens."""
    decoded = text.decode() if text and _whole(text) else ""
    return len(decoded) if all(letter >= " " and ord(letter) not in (QUOTE, ESCAPE) for letter in decoded) else 0


def _behind(prefix: bytes) -> bytes:
    """The first text in order that does not begin with *prefix* and comes behind all that do."""
    whole = prefix.rstrip(b"\xff")
    return whole[:-1] + bytes((whole[-1] + 1,)) if whole else prefix + b"\xff" * 64
