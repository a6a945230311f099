"""Classifiers: which words of a text made this class. Any function from texts to probabilities plugs in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from guideway.pipeline.stages.explain.attribution import Floats, Masks, Token, Value, remembered, tokens_of, variant
from guideway.pipeline.stages.explain.subject import Case


class Classifier(Protocol):
    """What is asked of a classifier. ``labels`` are in the order of the columns of its scores."""

    labels: Sequence[str]

    def scores(self, texts: Sequence[str]) -> Floats:
        """The probability of each class: [texts, classes]. It batches as suits it."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Where it sees each text: [texts, dimensions]."""


class Classes:
    """A classifier that explains its choice; weights and scores are probabilities."""

    unit, auto = "probability", "shap"

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def cases(self, rows: Sequence[dict[str, Any]]) -> list[Case]:
        """One case for each of *rows*: the class that is chosen for its text."""
        chosen = self._classifier.scores([row["text"] for row in rows]).argmax(axis=-1)
        return [self._case(row, int(column)) for row, column in zip(rows, chosen, strict=True)]

    def case(self, text: str, label: str = "") -> Case:
        """The case of *text* and of a class, by default the one that is chosen."""
        if not label:
            return self.cases([{"text": text}])[0]
        return self._case({"text": text}, list(self._classifier.labels).index(label))

    def places(self, texts: Sequence[str]) -> Floats:
        """Where the classifier sees each text."""
        return self._classifier.embed(texts)

    def _case(self, row: dict[str, Any], column: int) -> Case:
        text, wanted, said = row["text"], row.get("label"), self._classifier.labels[column]
        tokens = tokens_of(text)
        right = None if wanted is None else wanted == said
        value = remembered(self._value(text, tokens, column))
        return Case(text, tokens, said, value, id=str(row.get("id", "")), wanted=wanted or "", right=right)

    def _value(self, text: str, tokens: Sequence[Token], column: int) -> Value:
        def value(masks: Masks) -> Floats:
            texts = [variant(text, tokens, mask) for mask in masks]
            different = list(dict.fromkeys(texts))
            scores = dict(zip(different, self._classifier.scores(different)[:, column], strict=True))
            return np.array([scores[one] for one in texts])

        return value
