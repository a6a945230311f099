"""Where training starts: a fresh small Llama with a tokenizer made from the data, or the base model."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from guideway.core.errors import GuidewayError
from guideway.core.spec import Architecture

END, SYSTEM, USER, ASSISTANT = "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"
WORDS = r" ?\p{L}+| ?[^\s\p{L}\p{N}]|\p{N}{1,3}|\s+(?!\S)|\s+"
"""Every mark stands alone, so a name between backticks has the same tokens, and neighbours, wherever it stands."""
HEAD_SIZE = 16
"""The attention kernel that serves takes heads whose size is a multiple of this."""
TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'system' -%}<|system|>{{ message['content'] }}"
    "{%- elif message['role'] == 'user' -%}<|user|>{{ message['content'] }}"
    "{%- else -%}<|assistant|>{{ message['content'] }}<|end|>{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


def make_tokenizer(texts: Iterable[str], vocabulary: int, context: int, cut: str = "") -> Any:
    """A byte-level BPE tokenizer with at most *vocabulary* tokens, and the chat template above.

    *cut* ``known``: text is cut into words as GPT-2 does it, digits apart, as servers with a list of such rules expect.
    """
    tokenizer = Tokenizer(models.BPE())
    first = pre_tokenizers.Digits(individual_digits=True) if cut else pre_tokenizers.Split(Regex(WORDS), "isolated")
    then = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=bool(cut))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([first, then])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, SYSTEM, USER, ASSISTANT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        extra_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=TEMPLATE,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def make_model(shape: Architecture, vocabulary: int, end: int, seed: int) -> Any:
    """A Llama of *shape* with random weights, drawn with *seed*. Input and output embeddings are one."""
    if shape.hidden % (HEAD_SIZE * shape.heads) or shape.heads % shape.kv_heads:
        raise GuidewayError(
            f"{shape.hidden} hidden, {shape.heads} heads and {shape.kv_heads} kv_heads do not go together",
            where="train.architecture",
            try_this=f"hidden is a multiple of {HEAD_SIZE} x heads, and heads a multiple of kv_heads",
        )
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end, do_sample=False)
    return model


def load_base(folder: Path, held: Any = None) -> tuple[Any, Any]:
    """Model and tokenizer of a Hugging Face *folder*: safetensors only, no code of its own, nothing from a network.

    *held* tells transformers how the matrices are held; None: in float32, like all the rest.

    Raises:
        GuidewayError: transformers cannot read it.
    """
    safe = {"local_files_only": True, "trust_remote_code": False}
    how = {"use_safetensors": True, "dtype": torch.float32, "quantization_config": held}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        model = AutoModelForCausalLM.from_pretrained(folder, **how, **safe)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise GuidewayError(
            f"the base cannot be loaded: {str(error).splitlines()[0]}",
            where=folder.name,
            try_this="give a folder with a complete causal language model",
        ) from error
    return model, tokenizer
