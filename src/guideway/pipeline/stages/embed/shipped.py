"""The exported encoder as compression and evaluation see it: the very code that serves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from guideway.pipeline.stages.threads import threads_for
from guideway.replica.classifier import GRAPH
from guideway.replica.embedder import Embeddings, OnnxEmbedder

AT_ONCE = 32
"""Texts computed at once."""


class Shipped:
    """The export in *folder*."""

    def __init__(self, folder: Path) -> None:
        self._model = OnnxEmbedder(folder, threads_for((folder / GRAPH).stat().st_size))
        self.settings, self.reader = self._model.settings, self._model.reader

    def embed(self, texts: Sequence[Sequence[int]]) -> Embeddings:
        """Where it sees the *texts*, in their order; those of like length are computed together."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        found = np.empty((len(texts), self.settings.width), np.float32)
        for at in range(0, len(order), AT_ONCE):
            chosen = order[at : at + AT_ONCE]
            found[chosen] = self._model.embed([texts[index] for index in chosen])
        return found
