"""A classifier without a model: a tokenizer of words, and probabilities that follow from the ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from guideway.replica.classifier import ClassifierSettings, TextReader, write_settings

LABELS = ("calm", "storm", "rain")


def write_reader(folder: Path, threshold: float = 0.5) -> tuple[TextReader, ClassifierSettings]:
    """A tokenizer of three words in *folder*, and settings with a threshold."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "calm": 1, "storm": 2, "rain": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    settings = ClassifierSettings(LABELS, 8, threshold, "none of them")
    write_settings(folder, settings)
    return TextReader(folder, settings.max_tokens), settings


def by_first_token(batch):
    """Sure of the class of the first known word; of an unknown word it knows nothing."""
    rows = np.full((len(batch), len(LABELS)), 1 / 3, np.float32)
    for row, ids in enumerate(batch):
        if ids[0]:
            rows[row] = 0.05
            rows[row, ids[0] - 1] = 0.9
    return rows
