"""The exported classifier as evaluation sees it: the very code that serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guideway.pipeline.stages.classify.rows import Case
from guideway.pipeline.stages.threads import threads_for
from guideway.replica.classifier import GRAPH, Probabilities
from guideway.replica.octets import open_classifier

AT_ONCE = 32
"""Texts computed at once."""


class Shipped:
    """The export in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._model = open_classifier(folder, threads_for((folder / GRAPH).stat().st_size))
        self.settings, self.reader = self._model.settings, self._model.reader

    def probabilities(self, cases: Sequence[Case]) -> Probabilities:
        """What it says of *cases*, in their order; texts of like length are computed together."""
        order = sorted(range(len(cases)), key=lambda index: len(cases[index].ids))
        found = np.empty((len(cases), len(self.settings.labels)), np.float32)
        for at in range(0, len(order), AT_ONCE):
            chosen = order[at : at + AT_ONCE]
            found[chosen] = self._model.probabilities([cases[index].ids for index in chosen])
        return found
