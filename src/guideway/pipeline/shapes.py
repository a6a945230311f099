"""The shape of the model that a training is about: from the spec, or from what a base says of itself."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from guideway.core.errors import Corrupt
from guideway.core.spec import Train
from guideway.kit.machine import Machine
from guideway.pipeline.needs import FLOAT, Shape, merging_memory, shape_of, whole_memory
from guideway.sealing.tensors import Tensor, read_header

EXPERTS = ".experts."
"""In the name of a tensor: one of several feed-forward layers, of which each token asks a few."""
NEW = ("scratch", "distill")
"""Recipes that make a model of the shape in ``architecture``."""


def trained_shape(train: Train, base: Path | None, task: str) -> Shape | None:
    """The shape of the model that *train* changes; None: the *base* does not tell."""
    if train.recipe in NEW or base is None:
        return shape_of(train.architecture)
    shape = base_shape(base, train.architecture.context)
    if shape is None or task not in ("classify", "embed"):
        return shape
    texts = 2 if task == "embed" else 1  # in a row: a question and its passage
    return shape._replace(vocabulary=0, context=texts * shape.context)  # no scores of tokens are kept


def base_shape(folder: Path, context: int) -> Shape | None:
    """The shape of the model in a Hugging Face *folder*, trained on *context* tokens at most; None: unknown."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tensors = _tensors_in(sorted(folder.glob("*.safetensors")))
    except (OSError, ValueError, Corrupt):
        return None
    sizes = [config.get(name) for name in ("num_hidden_layers", "hidden_size", "vocab_size")]
    if not all(isinstance(one, int) for one in sizes):
        return None
    layers, hidden, vocabulary = sizes
    longest = min(context, config.get("max_position_embeddings") or math.inf)
    feed_forward = config.get("intermediate_size") or 4 * hidden
    heads = config.get("num_attention_heads") or 1
    weights = sum(math.prod(one.shape) for one in tensors)
    inner = sum(math.prod(one.shape) for one in tensors if _in_layer(one, vocabulary))
    return Shape(layers, hidden, heads, feed_forward, vocabulary, int(longest), weights, inner)


def _tensors_in(files: Sequence[Path]) -> list[Tensor]:
    """All tensors in safetensors *files*; none is read."""
    return [tensor for file in files for tensor in read_header(file).tensors]


def _in_layer(tensor: Tensor, vocabulary: int) -> bool:
    """Is it a matrix of a linear layer between the ends? Experts are matrices in a file, and one block in memory."""
    return len(tensor.shape) == 2 and vocabulary not in tensor.shape and EXPERTS not in tensor.name


def use_share(train: Train, shape: Shape, there: Machine) -> float:
    """The largest share of free memory, or of free disk, that a training needs."""
    memory = whole_memory(train, shape) / max(1, there.gpu * train.processes or there.memory_free)
    merging = merging_memory(train, shape) / max(1, there.memory_free)
    return max(memory, merging, shape.weights * FLOAT * 2 / max(1, there.disk_free))
