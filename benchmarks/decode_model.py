"""A random Llama of 109.5M weights with a tokenizer of words, its exports, and a release folder for each of them.

``python benchmarks/decode_model.py FOLDER`` makes it all but the exports to OpenVINO and for vLLM, which other
interpreters make in the same way: ``… FOLDER openvino``. The shape is a real one; of random weights only the speed says
anything.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any

SHAPE = {"vocab_size": 32_000, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12,
         "num_attention_heads": 12, "num_key_value_heads": 12, "max_position_embeddings": 1024}  # fmt: skip
END = 2
"""The token that ends an answer. Its row of the shared matrix is zero, so that it is never the likeliest."""
SEED = 7
PRECISIONS = ("int8", "int4")
NAME = "decode"
ROWS = 32
"""Rows that vLLM's eight bits are calibrated on."""


def make(folder: Path, engine: str) -> None:
    """Write a release ``ENGINE-PRECISION`` for each precision to *folder*, and first ``hf`` if it is not there yet.

    Of vLLM only its model in eight bits: it serves the other one as it was made.
    """
    source = folder / "hf"
    if not source.is_dir():
        weights = save_model(source)
        save_tokenizer(source)
        print(f"{weights:,} weights")
    if engine == "vllm":
        for_vllm(folder, source)
    else:
        for precision in PRECISIONS:
            release(folder / f"{engine}-{precision}", engine, source, precision)
    (folder / f"{engine}-done").touch()


def save_model(out: Path) -> int:
    """Write the model; how many weights it has, each shared one counted once."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    ends: dict[str, Any] = {"bos_token_id": None, "eos_token_id": END, "pad_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, **ends, tie_word_embeddings=True))
    with torch.no_grad():
        model.get_input_embeddings().weight[END] = 0.0
    model.save_pretrained(out)
    return sum(weight.numel() for weight in model.parameters())


def save_tokenizer(out: Path) -> None:
    """One word for each token, so that every server reads and writes as many tokens as the others."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word(number): number for number in range(SHAPE["vocab_size"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=word(0)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=word(END))
    fast.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    fast.save_pretrained(out)


def word(number: int) -> str:
    """The word that is token *number*."""
    return f"w{number}"


def release(folder: Path, engine: str, source: Path, precision: str) -> None:
    """The folder of a release for *engine*, exported as stage compress exports."""
    from guideway.pipeline.stages.formats import FORMATS

    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
    FORMATS[engine].export(source, folder / "model", precision)
    settings = {"name": NAME, "task": "chat", "engine": engine}
    (folder / "serve.json").write_text(json.dumps(settings), encoding="utf-8")


def for_vllm(folder: Path, source: Path) -> None:
    """The model in the eight bits of vLLM, weights and activations, calibrated on rows of random words."""
    from guideway.pipeline.stages.formats.compressed_tensors import calibrated

    draw, rows = random.Random(SEED), folder / "rows"
    rows.mkdir(exist_ok=True)
    with (rows / "train.jsonl").open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            text = " ".join(map(word, draw.choices(range(END + 1, SHAPE["vocab_size"]), k=64)))
            file.write(json.dumps({"id": str(number), "text": text, "source": 0, "fields": {}}) + "\n")
    out = folder / "vllm-w8a8"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    calibrated(source, out, "w8a8", rows)


if __name__ == "__main__":
    make(Path(sys.argv[1]), *(sys.argv[2:] or ["onnx"]))
