"""Classifiers: which words of a text made this class. Any function from texts to probabilities plugs in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from guideway.core.errors import SpecError, did_you_mean
from guideway.pipeline.stages.explain.attribution import (
    Floats,
    Masks,
    Token,
    Value,
    remembered,
    tokens_of,
    variant,
)
from guideway.pipeline.stages.explain.subject import Case


class Classifier(Protocol):
    """What is asked of a classifier. ``labels`` are in the order of the columns of its scores."""

    labels: Sequence[str]

    def scores(self, texts: Sequence[str]) -> Floats:
        """The probability of each class: [texts, classes]. It batches as suits it."""

    def embed(self, texts: Sequence[str]) -> Floats:
        """Where it sees each text: [texts, dimensions]."""

    def gradients(self, text: str, tokens: Sequence[Token], column: int) -> Floats:
        """The weight of each token for the class in *column*, by integrated gradients.

        Raises:
            SpecError: its weights are not at hand.
        """


class Classes:
    """A classifier that explains the class it finds likeliest, whatever its threshold; weights are probabilities."""

    unit, auto = "probability", "shap"

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def cases(self, rows: Sequence[dict[str, Any]]) -> list[Case]:
        """One case for each of *rows* that belongs to a class."""
        inside = [row for row in rows if row.get("label", self._classifier.labels[0]) in self._classifier.labels]
        if not inside:
            return []
        chosen = self._classifier.scores([row["text"] for row in inside]).argmax(axis=-1)
        return [self._case(row, int(column)) for row, column in zip(inside, chosen, strict=True)]

    def ask(self, text: str, target: str | None = None) -> Case:
        """The case of *text* and of the class *target*, by default the likeliest.

        Raises:
            SpecError: there is no such class.
        """
        if target is None:
            return self.cases([{"text": text}])[0]
        labels = list(self._classifier.labels)
        if target not in labels:
            raise SpecError(f"there is no class '{target}'", try_this=did_you_mean(target, labels))
        return self._case({"text": text}, labels.index(target))

    def places(self, texts: Sequence[str]) -> Floats:
        """Where the classifier sees each text."""
        return self._classifier.embed(texts)

    def _case(self, row: dict[str, Any], column: int) -> Case:
        text, wanted, said = row["text"], row.get("label"), self._classifier.labels[column]
        tokens = tokens_of(text)
        return Case(
            text,
            tokens,
            said,
            remembered(self._value(text, tokens, column)),
            gradients=partial(self._classifier.gradients, text, tokens, column),
            id=str(row.get("id", "")),
            wanted=wanted or "",
            right=None if wanted is None else wanted == said,
        )

    def _value(self, text: str, tokens: Sequence[Token], column: int) -> Value:
        def value(masks: Masks) -> Floats:
            texts = [variant(text, tokens, mask) for mask in masks]
            different = list(dict.fromkeys(texts))
            scores = dict(zip(different, self._classifier.scores(different)[:, column], strict=True))
            return np.array([scores[one] for one in texts])

        return value
