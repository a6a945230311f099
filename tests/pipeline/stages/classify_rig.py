"""A tiny encoder, and a small set of labelled texts that it can learn in seconds."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from stage_rig import spec_of, write_jsonl

from guideway.core.spec import Spec

INTENTS = {
    "weather": ("will it {} in {} today", ("rain", "snow", "storm"), ("paris", "rome", "oslo", "cairo")),
    "music": ("please {} some {} music", ("play", "start", "stream"), ("jazz", "rock", "folk", "soul")),
    "money": ("{} the {} of my account", ("show", "tell", "check"), ("balance", "limit", "fees", "interest")),
}
TRAIN = {
    "recipe": "full", "base": "base", "steps": 30, "batch": 8, "learning_rate": 3e-3, "warmup": 3,
    "validation": {"split": "val"},
}  # fmt: skip
OUTSIDE = ("why is the sea salty", "who wrote hamlet", "how tall is the tower", "name a prime number")


def labelled_rows() -> list[dict[str, Any]]:
    """Twelve texts of each of three classes, and four that belong to none. ``part`` says where they go."""
    rows = []
    for label, (shape, first, second) in INTENTS.items():
        for number, (one, two) in enumerate(itertools.product(first, second)):
            part = {4: "test", 9: "test", 7: "val", 2: "val"}.get(number, "train")
            rows.append({"text": shape.format(one, two), "label": label, "part": part})
    parts = ("val", "val", "test", "test")
    return rows + [{"text": text, "label": "oos", "part": part} for text, part in zip(OUTSIDE, parts, strict=True)]


def classify_spec(**parts: Any) -> Spec:
    """Learns the intents in seconds from the encoder in ``base``."""
    splits = {name: {"by": ["part"], "values": [name]} for name in ("val", "test")}
    made = {
        "task": "classify",
        "data": {"sources": [{"path": "rows.jsonl"}], "out_of_scope": "oos", "splits": splits},
        "train": TRAIN,
    }
    return spec_of(**made | parts)


def make_project(root: Path) -> Path:
    """The rows and the encoder in *root*."""
    write_jsonl(root / "rows.jsonl", labelled_rows())
    make_encoder(root / "base", [row["text"] for row in labelled_rows()])
    return root


def make_encoder(folder: Path, texts: list[str], layers: int = 2, hidden: int = 32) -> Path:
    """A BERT with random weights and a tokenizer of the words in *texts*, as a Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = sorted({word for text in texts for word in text.lower().split()})
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    torch.manual_seed(5)
    shape = {"hidden_size": hidden, "intermediate_size": 2 * hidden, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(vocabulary), num_hidden_layers=layers, max_position_embeddings=64, pad_token_id=0, **shape
    )
    BertModel(config).save_pretrained(folder)
    return folder
