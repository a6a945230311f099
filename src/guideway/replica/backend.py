"""What the scheduler needs of a model: the rows of one batch, which grow by one token at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
"""One score per token of the vocabulary; the last axis is the vocabulary."""


SLOTS = 16
"""Answers computed at once, unless somebody asks for others: more gain little on a processor."""
PIECE = 256
"""Prompt tokens read at once. A prompt is always cut at the same places, so that load changes no score."""


class Backend(Protocol):
    """A model with room for ``slots`` sequences of ``context`` tokens. Used by one thread.

    Rows are numbered without gaps in the order of joining. What a call returns is valid until the next call.
    One more prompt may be read in pieces beside the rows; it needs a slot, and takes part in no step until it joins.
    """

    slots: int
    context: int
    vocabulary: int

    def learn(self, ids: Sequence[int]) -> None:
        """Keep what reading *ids* gives, apart from all rows, for ``recall``. There are no rows yet."""

    def recall(self) -> None:
        """Begin the prompt that is to join next with what was learned, as if it had been read."""

    def read(self, ids: Sequence[int]) -> None:
        """Read a piece of the prompt that is to join next, but not its end."""

    def forget(self) -> None:
        """Drop what was read and has not joined."""

    def join(self, ids: Sequence[int]) -> Logits:
        """Read the end of a prompt (or all of it) and make it the last row; the scores [vocabulary] of its next token.

        On error no row is added, and what was read is to be forgotten.
        """

    def step(self, ids: Sequence[int]) -> Logits:
        """Append ``ids[row]`` to every row; the scores [rows, vocabulary] of the next tokens."""

    def leave(self, row: int) -> None:
        """Free *row*. The last row takes its number."""

    def reset(self) -> None:
        """Free all rows and drop what was read."""
