"""Small seeded models of the architectures that GGUF is written of, with a tokenizer that llama.cpp knows."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guideway.pipeline.stages.train.start import make_tokenizer

TEXTS = [
    "the sky is blue, isn't it? and `grass` is green (or so they say) in 2031",
    "snow is white; coal: black. I'll say it'd be 1,234 or 56 of them, don't you?",
    "水是蓝色的。草是绿色的。 der Schnee ist weiß, il a neigé",
]
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}
"""Weights so wide that likeliest tokens lie far apart."""
VOCABULARY = 384
"""More than the tokenizer has: real models are padded too."""
KINDS = {
    "llama": {"tie_word_embeddings": True, "rope_theta": 5000.0},
    "mistral": {"tie_word_embeddings": False, "sliding_window": None},
    "qwen2": {"tie_word_embeddings": False},
    "qwen3": {"tie_word_embeddings": True, "head_dim": 32},
}


def make_model(folder: Path, kind: str = "llama", **more: object) -> Path:
    """A Hugging Face folder with a random model of *kind*, always the same."""
    tokenizer = make_tokenizer(TEXTS * 4, 420, 128, "known")
    end = tokenizer.eos_token_id
    settings = {**SHAPE, **KINDS[kind], **more}
    torch.manual_seed(11)
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, eos_token_id=end, bos_token_id=None, **settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):  # drawn as zeros, which would hide one that is lost
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
