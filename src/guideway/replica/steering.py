"""What a request does to the scores before a token is chosen: biases, penalties, a form to keep to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from guideway.replica.backend import Logits
from guideway.replica.constrain.constraint import Constraint


class Steering:
    """Changes the scores of one answer.

    Args:
        bias: added to the score of each of these tokens; tokens that the model does not have are passed over.
        frequency: taken off a token's score for each time that the answer has it.
        presence: taken off once from the score of every token that the answer has.
        constraint: which tokens may come at all; it has the last word.
    """

    def __init__(
        self,
        bias: Mapping[int, float],
        frequency: float = 0.0,
        presence: float = 0.0,
        constraint: Constraint | None = None,
    ) -> None:
        self._biased = np.array(list(bias), np.int64)
        self._bias = np.array(list(bias.values()), np.float32)
        self._frequency, self._presence, self._constraint = frequency, presence, constraint
        self._said: dict[int, int] = {}

    @property
    def holds(self) -> bool:
        """Is the answer within a form, where no stop string may end it?"""
        return self._constraint is not None and self._constraint.holds

    @property
    def over(self) -> bool:
        """Is the answer complete, so that nothing may follow?"""
        return self._constraint is not None and self._constraint.over

    def __call__(self, logits: Logits) -> Logits:
        """The changed scores, as a new array."""
        changed = logits.copy()
        if len(self._biased):
            known = self._biased < len(changed)
            changed[self._biased[known]] += self._bias[known]
        if self._said and (self._frequency or self._presence):
            said = np.fromiter(self._said, np.int64, len(self._said))
            times = np.fromiter(self._said.values(), np.float32, len(self._said))
            changed[said] -= np.float32(self._frequency) * times + np.float32(self._presence)
        return changed if self._constraint is None else self._constraint(changed)

    def push(self, token: int) -> None:
        """Count a token that was chosen."""
        self._said[token] = self._said.get(token, 0) + 1
        if self._constraint is not None:
            self._constraint.push(token)
