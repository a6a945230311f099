"""The other baseline: give the answer of the training prompt that is most like the question."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


class Nearest:
    """Training prompts by their tokens; a rare token weighs more than a common one (tf-idf without the tf, cosine)."""

    def __init__(self, prompts: Sequence[Sequence[int]], answers: Sequence[str]) -> None:
        self._answers = answers
        holders: defaultdict[int, list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            for token in set(prompt):
                holders[token].append(index)
        self._holders: dict[int, npt.NDArray[np.int64]] = {
            token: np.array(found, dtype=np.int64) for token, found in holders.items()
        }
        counted = Counter({token: len(found) for token, found in holders.items()})
        self._weights = {token: math.log((1 + len(prompts)) / count) for token, count in counted.items()}
        lengths = [math.sqrt(sum(self._weights[token] ** 2 for token in set(prompt))) for prompt in prompts]
        self._lengths = np.maximum(np.array(lengths), 1e-9)

    def answer(self, prompt: Sequence[int]) -> str:
        """The answer that stands with the most similar training prompt; the first of equals."""
        scores = np.zeros(len(self._answers))
        for token in sorted(set(prompt)):
            if token in self._holders:
                scores[self._holders[token]] += self._weights[token] ** 2
        return self._answers[int((scores / self._lengths).argmax())]
