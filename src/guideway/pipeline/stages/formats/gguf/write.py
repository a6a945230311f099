"""The export to GGUF: the same weights and tokenizer for llama.cpp, and the same bytes for the same model."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from guideway.core.errors import GuidewayError
from guideway.engines.llamacpp import MODEL, QUANTIZE, program
from guideway.pipeline.stages.formats.gguf.shapes import Shape, place_of, shape_of
from guideway.pipeline.stages.formats.gguf.words import Words, words_of

Floats = npt.NDArray[np.float32]
FULL, EIGHT = gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.Q8_0
KINDS = {"fp32": "F32", "int8": "Q8_0", "int4": "Q4_K_M"}
"""What a precision is called in GGUF. The first two are written here, the third by llama.cpp's own program."""
BLOCK = 32
"""Weights that share one scale in Q8_0: a row that is no multiple of it stays as it is."""
BESIDE = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
"""What the gateway and the engine read beside the model: how long a context is, and how tokens are counted."""


def export(source: Path, out: Path, precision: str) -> None:
    """Write the Hugging Face folder *source* to *out* as ``model.gguf``, with the tokenizer beside it.

    Raises:
        GuidewayError: GGUF cannot hold this model or its tokenizer.
        Unavailable: int4 needs ``llama-quantize``, which is not installed.
    """
    shape = shape_of(json.loads((source / "config.json").read_text(encoding="utf-8")))
    words = words_of(source, shape.vocabulary)
    if precision == "int4":
        quantize = program(QUANTIZE)
        whole = out / "whole.gguf"
        write(whole, source, shape, words, FULL)
        _quantized(quantize, whole, out / MODEL)
        whole.unlink()
    else:
        write(out / MODEL, source, shape, words, EIGHT if precision == "int8" else FULL)
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def write(path: Path, source: Path, shape: Shape, words: Words, kind: gguf.GGMLQuantizationType) -> None:
    """Write one GGUF file with matrices of *kind*; what is no matrix stays in float32."""
    writer = gguf.GGUFWriter(path, shape.name)
    _say_shape(writer, shape)
    _say_words(writer, words)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if kind == EIGHT else gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, tensor in _tensors(source, shape):
        narrow = FULL if tensor.ndim < 2 or tensor.shape[-1] % BLOCK else kind
        writer.add_tensor(name, gguf.quantize(tensor, narrow), raw_dtype=narrow)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _say_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_block_count(shape.layers)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)


def _say_words(writer: gguf.GGUFWriter, words: Words) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.rule)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_token_merges(words.merges)
    writer.add_add_bos_token(words.adds_begin)
    if words.begin is not None:
        writer.add_bos_token_id(words.begin)
    names = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for say, token in zip(names, words.ends, strict=False):
        say(token)
    if words.template:
        writer.add_chat_template(words.template)


def _tensors(source: Path, shape: Shape) -> Iterator[tuple[str, Floats]]:
    """Every tensor under its name in GGUF, in float32, in the order of the files and their names."""
    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in sorted(file.keys()):
                tensor = file.get_tensor(name).to(torch.float32)
                heads = {"q_proj": shape.heads, "k_proj": shape.kv_heads}.get(name.split(".")[-2])
                if shape.paired and heads:
                    tensor = _paired(tensor, heads)
                yield place_of(name), tensor.contiguous().numpy()


def _paired(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of *tensor* so that the two that a rotary position turns together lie side by side in each head."""
    halves = tensor.reshape(heads, 2, -1, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def _quantized(quantize: str, whole: Path, out: Path) -> None:
    """Let llama.cpp make Q4_K_M of the *whole* file.

    Raises:
        GuidewayError: it cannot.
    """
    done = subprocess.run(
        [quantize, str(whole), str(out), KINDS["int4"], "1"],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise GuidewayError(
            f"llama-quantize cannot make int4 of the model: it says {said}",
            where="compress.precision",
            try_this="precision: int8",
        )
