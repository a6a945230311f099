"""What the scheduler needs of a model: the rows of one batch, which grow by one token at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
"""One score per token of the vocabulary; the last axis is the vocabulary."""


class Backend(Protocol):
    """A model with room for ``slots`` sequences of ``context`` tokens. Used by one thread.

    Rows are numbered without gaps in the order of joining. What a call returns is valid until the next call.
    """

    slots: int
    context: int
    vocabulary: int

    def join(self, ids: Sequence[int]) -> Logits:
        """Read a prompt into a new last row; the scores [vocabulary] of its next token. On error no row is added."""

    def step(self, ids: Sequence[int]) -> Logits:
        """Append ``ids[row]`` to every row; the scores [rows, vocabulary] of the next tokens."""

    def leave(self, row: int) -> None:
        """Free *row*. The last row takes its number."""

    def reset(self) -> None:
        """Free all rows."""
