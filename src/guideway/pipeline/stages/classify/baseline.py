"""The transparent baseline: TF-IDF of words and pairs of words, and logistic regression, learnt from the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline

from guideway.pipeline.stages.classify.scores import Ints

FOLDS = 5
INVERSE_DECAY = 10.0
"""Of the squared weights: scikit-learn's C. Its default of 1 learns too little from short texts."""
ITERATIONS = 100
WORDS = 10_000
"""Words and pairs of words that are looked at: those that stand in the texts most often."""


class Folds(NamedTuple):
    """Cross-validation: how many rows were right when they were held out, of how many; the accuracy of each fold."""

    right: int
    rows: int
    accuracies: list[float]

    @property
    def spread(self) -> float:
        """The standard deviation between folds."""
        return float(np.std(self.accuracies, ddof=1))


class Baseline:
    """Learnt from *texts* with their *targets*."""

    def __init__(self, texts: Sequence[str], targets: Ints) -> None:
        self._model = _made().fit(texts, targets)

    def classes(self, texts: Sequence[str]) -> Ints:
        """The class of each of *texts*."""
        return np.asarray(self._model.predict(texts), dtype=np.int64)


def cross_validate(
    targets: Ints, folds: int, seed: int, judge: Callable[[Ints, Ints], Ints], say: Callable[[float], None]
) -> Folds | None:
    """Hold out each of *folds* stratified parts in turn; None where the smallest class has less than two rows.

    *judge* learns from the rows with the first numbers, and says the classes of those with the second.
    """
    count = min(folds, *Counter(targets.tolist()).values())
    if count < 2:
        return None
    right, accuracies = 0, []
    split = StratifiedKFold(count, shuffle=True, random_state=seed).split(np.zeros(len(targets)), targets)
    for number, (inside, outside) in enumerate(split):
        say(number / count)
        hits = judge(inside, outside) == targets[outside]
        right += int(hits.sum())
        accuracies.append(float(hits.mean()))
    return Folds(right, len(targets), accuracies)


def fold_judge(texts: Sequence[str], targets: Ints) -> Callable[[Ints, Ints], Ints]:
    """A judge for `cross_validate` that is the baseline."""

    def judge(inside: Ints, outside: Ints) -> Ints:
        learnt = Baseline([texts[row] for row in inside], targets[inside])
        return learnt.classes([texts[row] for row in outside])

    return judge


def _made() -> Pipeline:
    words: dict[str, Any] = {"ngram_range": (1, 2), "sublinear_tf": True, "token_pattern": r"(?u)\b\w+\b"}
    words |= {"max_features": WORDS, "dtype": np.float32}
    return make_pipeline(TfidfVectorizer(**words), LogisticRegression(C=INVERSE_DECAY, max_iter=ITERATIONS))
