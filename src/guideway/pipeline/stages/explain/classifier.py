"""The classifier that ships, as explanations ask it: scores by the export, places and gradients by the trained one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from guideway.core.errors import SpecError
from guideway.pipeline.stages.classify.rows import OUTSIDE, Case
from guideway.pipeline.stages.classify.shipped import Shipped
from guideway.pipeline.stages.explain.attribution import Floats, Token
from guideway.replica.classifier import TextReader

if TYPE_CHECKING:
    from guideway.pipeline.stages.explain.class_gradients import Differentiable


class ShippedClassifier:
    """The export in *folder*, and the folder of the trained classifier it was made from, where that is at hand.

    Raises:
        SpecError: it reads bytes, and no texts.
    """

    def __init__(self, folder: Path, trained: Path | None = None) -> None:
        self._shipped, self._trained = Shipped(folder), trained
        reader = self._shipped.reader
        if not isinstance(reader, TextReader):
            raise SpecError("a classifier of bytes has no words to explain", where=folder.name)
        self._reader: TextReader = reader
        self.labels: Sequence[str] = self._shipped.settings.labels

    def scores(self, texts: Sequence[str]) -> Floats:
        """The probability of each class: [texts, classes]."""
        return self._shipped.probabilities(self._cases(texts)).astype(np.float64)

    def embed(self, texts: Sequence[str]) -> Floats:
        """The mean hidden state of each text, before the head of the trained classifier."""
        return self._differentiable.features(self._cases(texts))

    def gradients(self, text: str, tokens: Sequence[Token], column: int) -> Floats:
        """The weight of each token for the class in *column*, by integrated gradients of the trained classifier.

        Raises:
            SpecError: it is not at hand.
        """
        spans = self._reader.spans(text)
        return self._differentiable.weights(self._cases([text])[0], spans, tokens, column)

    @cached_property
    def _differentiable(self) -> Differentiable:
        if self._trained is None:
            raise SpecError(
                "there are no weights that gradients could be taken of",
                try_this="method occlusion or shap, which need scores only",
            )
        from guideway.pipeline.stages.explain.class_gradients import Differentiable

        return Differentiable(self._trained)

    def _cases(self, texts: Sequence[str]) -> list[Case]:
        return [Case(self._reader.encode(text), OUTSIDE, text, "") for text in texts]
