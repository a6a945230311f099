"""A tokenizer for a model that came without one: a text is token ids, written as numbers with spaces between."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

from guideway.pipeline.stages.imported.llama import BEGIN
from guideway.replica.text import IDS_ONLY


def write_ids_tokenizer(out: Path, vocabulary: int, context: int) -> None:
    """Write it to *out*, for ids from 0 to *vocabulary* - 1."""
    tokenizer = Tokenizer(models.WordLevel({str(one): one for one in range(vocabulary)}))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": str(BEGIN),
        "eos_token": str(BEGIN),
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        IDS_ONLY: True,
    }
    text = json.dumps(config, indent=1, sort_keys=True)
    (out / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
