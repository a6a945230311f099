"""A sentence encoder: its settings, and the exported model on ONNX Runtime. Evaluation uses this code too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from guideway.core.errors import SpecError
from guideway.replica.classifier import GRAPH, TextReader, padded
from guideway.replica.session import open_session
from guideway.replica.settings import read_file, write_file

FILE = "embedder.json"
OUTPUT = "embedding"

Embeddings = NDArray[np.float32]
"""One row per text; each has the length 1."""


class EmbedderSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``embedder.json``: how many numbers an embedding has, how many tokens of a text count, how they become one."""

    width: int
    max_tokens: int
    pooling: Literal["mean", "cls"] = "mean"


def read_settings(folder: Path) -> EmbedderSettings:
    """``embedder.json`` in *folder*.

    Raises:
        SpecError: it is not there, or not what it should be.
    """
    found = read_file(folder, FILE, EmbedderSettings, "is this a model for embeddings?")
    if found.width < 1 or found.max_tokens < 3:
        raise SpecError("one number and three tokens are the least", where=str(folder / FILE))
    return found


def write_settings(folder: Path, settings: EmbedderSettings) -> None:
    """Write ``embedder.json`` into *folder*."""
    write_file(folder, FILE, settings)


class OnnxEmbedder:
    """The export in *folder*, computed by *threads* threads; ``settings`` and ``reader`` belong to it.

    Raises:
        SpecError: a file is missing or cannot be read, or the graph gives something else than the settings say.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self.settings = read_settings(folder)
        self.reader = TextReader(folder, self.settings.max_tokens)
        self._session = open_session(folder / GRAPH, threads)
        shapes = {one.name: one.shape for one in self._session.get_outputs()}
        if OUTPUT not in shapes or shapes[OUTPUT][-1] not in (self.settings.width, None):
            raise SpecError(
                f"the model gives no '{OUTPUT}' of {self.settings.width} numbers, as {FILE} says",
                where=str(folder / GRAPH),
            )

    def embed(self, batch: Sequence[Sequence[int]]) -> Embeddings:
        """The embeddings of the sequences of token ids in *batch*, computed at once."""
        found = self._session.run([OUTPUT], dict(zip(("input_ids", "attention_mask"), padded(batch), strict=True)))
        return np.asarray(found[0], np.float32)
