"""Architectures that can be written as GGUF: what they are called there, and where each tensor goes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from guideway.core.errors import GuidewayError

NAMES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
"""The ``model_type`` of transformers, and the architecture of GGUF that computes the same."""
PAIRED = frozenset({"llama", "mistral"})
"""Those whose GGUF architecture turns neighbouring channels together, where transformers turns the two halves."""
OUTER = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
INNER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)").fullmatch
_ROPE = "rope_parameters"


class Shape(NamedTuple):
    """The numbers of a model that GGUF wants to know. ``paired``: see ``PAIRED``."""

    name: str
    paired: bool
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    context: int
    vocabulary: int
    epsilon: float
    theta: float


def shape_of(config: Mapping[str, Any]) -> Shape:
    """The shape that a ``config.json`` of transformers describes.

    Raises:
        GuidewayError: GGUF has no architecture of ours for it, or it bends positions or attention in a way that is
            not written.
    """
    kind = str(config.get("model_type"))
    if kind not in NAMES:
        raise _cannot(f"a model of type '{kind}'", f"a base of type {', '.join(NAMES)}")
    rope = config.get(_ROPE) or {"rope_theta": config.get("rope_theta", 10000.0), **(config.get("rope_scaling") or {})}
    bent = rope.get("rope_type", rope.get("type", "default"))
    if bent != "default":
        raise _cannot(f"positions of type '{bent}'", "a base with plain rotary positions")
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    if window is not None and window < config["max_position_embeddings"]:
        raise _cannot(f"a sliding window of {window}", "a base that attends to its whole context")
    if config.get("hidden_act", "silu") != "silu":
        raise _cannot(f"the activation '{config['hidden_act']}'", "a base with silu")
    heads = config["num_attention_heads"]
    return Shape(
        name=NAMES[kind],
        paired=kind in PAIRED,
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        feed_forward=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or config["hidden_size"] // heads,
        context=config["max_position_embeddings"],
        vocabulary=config["vocab_size"],
        epsilon=config["rms_norm_eps"],
        theta=float(rope["rope_theta"]),
    )


def place_of(tensor: str) -> str:
    """The name in GGUF of a *tensor* of transformers.

    Raises:
        GuidewayError: it has no place there.
    """
    layer = _LAYER(tensor)
    if layer and layer[2] in INNER:
        return f"blk.{layer[1]}.{INNER[layer[2]]}.{layer[3]}"
    part, _, kind = tensor.rpartition(".")
    if part in OUTER:
        return f"{OUTER[part]}.{kind}"
    raise _cannot(f"the tensor '{tensor}'", "a base without it")


def _cannot(what: str, instead: str) -> GuidewayError:
    return GuidewayError(
        f"{what} cannot be written as GGUF", where="train.base", try_this=f"{instead}, or engine: onnx"
    )
