"""The exported classifier as evaluation sees it: the very code that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import SpecError
from guideway.pipeline.stages.classify.rows import Case
from guideway.pipeline.stages.threads import threads_for
from guideway.replica.classifier import GRAPH, OnnxClassifier, Probabilities
from guideway.replica.meaning import Features
from guideway.replica.octets import open_classifier

AT_ONCE = 32
"""Texts computed at once."""


class Shipped:
    """The export in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._model = open_classifier(folder, threads_for((folder / GRAPH).stat().st_size))
        self.settings, self.reader = self._model.settings, self._model.reader

    def probabilities(self, cases: Sequence[Case]) -> Probabilities:
        """What it says of *cases*, in their order."""
        return _of(cases, self._model.probabilities, len(self.settings.labels))

    def features(self, cases: Sequence[Case]) -> Features:
        """What it makes of *cases* before it names a class [rows, width], in their order.

        Raises:
            SpecError: it was not exported with them.
        """
        model = self._model
        if not isinstance(model, OnnxClassifier) or not model.gives_features:
            raise SpecError("the model gives no features", where=str(self._folder / GRAPH))
        wide = len(model.features([cases[0].ids])[0])
        return _of(cases, model.features, wide)

    def shares(self, cases: Sequence[Case]) -> NDArray[np.float64] | None:
        """The share of ordinary texts that are at least as far off as each of *cases*; None: it does not tell."""
        if not self._model.tells:
            return None
        found: NDArray[np.float64] = _of(cases, self._model.rows, len(self.settings.labels) + 1, np.float64)[:, -1]
        return found


def _of(
    cases: Sequence[Case],
    compute: Callable[[Sequence[Sequence[int]]], NDArray[Any]],
    wide: int,
    kind: type[np.floating[Any]] = np.float32,
) -> NDArray[Any]:
    """*compute* of *cases* [rows, wide], in their order; texts of like length are computed together."""
    order = sorted(range(len(cases)), key=lambda index: len(cases[index].ids))
    found = np.empty((len(cases), wide), kind)
    for at in range(0, len(order), AT_ONCE):
        chosen = order[at : at + AT_ONCE]
        found[chosen] = compute([cases[index].ids for index in chosen])
    return found
