"""The transparent baseline: BM25 (Robertson and Zaragoza 2009), which counts the words that two texts share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer

SATURATION, BY_LENGTH = 1.2, 0.75
"""k1: how soon a further occurrence of a word counts no more. b: how much the length of a passage counts."""
WORD = r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+"
"""A word; of Chinese, which is written without spaces, each character."""


class Words:
    """The words of *passages*, with their weights there."""

    def __init__(self, passages: Sequence[str]) -> None:
        self._counter = CountVectorizer(token_pattern=WORD, dtype=np.float64)
        counts = self._counter.fit_transform(passages).tocsr()
        lengths = np.asarray(counts.sum(axis=1)).ravel()
        there = np.asarray((counts > 0).sum(axis=0)).ravel()
        rare = np.log(1.0 + (len(passages) - there + 0.5) / (there + 0.5))
        norm = SATURATION * (1.0 - BY_LENGTH + BY_LENGTH * lengths / max(1e-9, lengths.mean()))
        rows = np.repeat(np.arange(len(passages)), np.diff(counts.indptr))
        counts.data *= rare[counts.indices] * (SATURATION + 1.0) / (counts.data + norm[rows])
        self._weights = counts

    def scores(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """How well each passage answers each question: [questions, passages]."""
        asked = self._counter.transform(questions)
        return np.asarray((asked @ self._weights.T).todense(), dtype=np.float64)
