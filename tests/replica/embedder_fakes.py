"""Embeddings without a model: a tokenizer of words, and a direction for each of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from classifier_fakes import write_reader

from guideway.replica.classifier import TextReader
from guideway.replica.embedder import EmbedderSettings, write_settings

WIDTH, MOST = 3, 8
DIRECTIONS = np.array([[0.6, 0.0, 0.8], [1, 0, 0], [0, 1, 0], [0, 0, -1]], np.float32)
"""Of what is unknown, and of calm, storm and rain."""


def write_embedder(folder: Path) -> tuple[TextReader, EmbedderSettings]:
    """A tokenizer of three words in *folder*, and the settings."""
    write_reader(folder)
    (folder / "classifier.json").unlink()
    settings = EmbedderSettings(WIDTH, MOST)
    write_settings(folder, settings)
    return TextReader(folder, MOST), settings


def by_first_token(batch):
    """The direction of the first word."""
    return DIRECTIONS[[ids[0] for ids in batch]]
