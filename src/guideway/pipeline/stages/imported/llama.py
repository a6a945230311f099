"""From the weights of llama2.c to a Llama as transformers has it: another order of what is turned, heads of sixteen.

llama2.c turns neighbours, (0, 1), (2, 3) and so on; transformers turns number i of a head with number i + half. So the
rows of queries and keys are put into that order. The kernel that serves takes heads whose size is a multiple of 16.
Smaller ones are filled up with zeros so that nothing changes: pair j of a head goes to place j * times, where the
longer head turns at the very same speed, and queries are multiplied by the root of *times*, which the larger divisor
of the scores takes away again.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from guideway.sealing.reshard import reshard_in_place

if TYPE_CHECKING:
    from guideway.pipeline.stages.imported.llama2c import Shape

Floats = NDArray[np.float32]
HEAD_SIZE = 16
THETA, EPSILON = 10000.0, 1e-5
BEGIN, END = 1, 2
"""Token ids that llama2.c gives to the beginning and the end of a text; its own answers end at either."""


def write_llama(shape: Shape, weights: dict[str, Floats], out: Path) -> int:
    """Write configuration and safetensors to *out*; how many weights the file that was read has."""
    times = math.lcm(shape.head, HEAD_SIZE) // shape.head
    tensors = {
        "model.embed_tokens.weight": weights["token_embedding"],
        "model.norm.weight": weights["rms_final"],
        **{name: weight for layer in range(shape.layers) for name, weight in _layer(shape, weights, layer, times)},
    }
    if not shape.shared:
        tensors["lm_head.weight"] = weights["classifier"]
    save_file(
        {name: np.array(one, np.float32, order="C") for name, one in tensors.items()},
        out / "model.safetensors",
        {"format": "pt"},
    )
    _write(out / "config.json", _config(shape, shape.head * times))
    ends = {"bos_token_id": BEGIN, "eos_token_id": [BEGIN, END], "pad_token_id": BEGIN}
    _write(out / "generation_config.json", {**ends, "do_sample": False})
    reshard_in_place(out)
    return sum(weight.size for name, weight in weights.items() if name != "rotary")


def _layer(shape: Shape, weights: dict[str, Floats], layer: int, times: int) -> list[tuple[str, Floats]]:
    """The tensors of one layer, by their names in transformers."""
    own = {name: weights[name][layer] for name in ("wq", "wk", "wv", "wo", "w1", "w2", "w3", "rms_att", "rms_ffn")}
    named = {
        "self_attn.q_proj": _turned(own["wq"], shape.heads, times) * np.float32(math.sqrt(times)),
        "self_attn.k_proj": _turned(own["wk"], shape.kv_heads, times),
        "self_attn.v_proj": _longer(own["wv"], shape.kv_heads, times),
        "self_attn.o_proj": _longer(own["wo"].T, shape.heads, times).T,
        "mlp.gate_proj": own["w1"],
        "mlp.down_proj": own["w2"],
        "mlp.up_proj": own["w3"],
        "input_layernorm": own["rms_att"],
        "post_attention_layernorm": own["rms_ffn"],
    }
    return [(f"model.layers.{layer}.{name}.weight", weight) for name, weight in named.items()]


def _turned(weight: Floats, heads: int, times: int) -> Floats:
    """Rows [heads * size, width] of neighbours as rows [heads * size * times, width] of halves, zeros between."""
    pairs = weight.reshape(heads, -1, 2, weight.shape[-1])
    made = np.zeros((heads, 2, pairs.shape[1] * times, weight.shape[-1]), np.float32)
    made[:, :, ::times] = pairs.transpose(0, 2, 1, 3)
    return made.reshape(-1, weight.shape[-1])


def _longer(weight: Floats, heads: int, times: int) -> Floats:
    """Rows [heads * size, width] with zeros behind each head, so that its size is *times* as large."""
    each = weight.reshape(heads, -1, weight.shape[-1])
    made = np.zeros((heads, each.shape[1] * times, weight.shape[-1]), np.float32)
    made[:, : each.shape[1]] = each
    return made.reshape(-1, weight.shape[-1])


def _config(shape: Shape, head: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": head,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "tie_word_embeddings": shape.shared,
        "bos_token_id": BEGIN,
        "eos_token_id": [BEGIN, END],
        "dtype": "float32",
    }


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
