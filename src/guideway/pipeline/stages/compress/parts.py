"""The matrices of a decoder that pruning knows, found by their usual names."""

from __future__ import annotations

from typing import Any

import torch

from guideway.core.errors import GuidewayError

MLP = ("gate_proj", "up_proj", "down_proj")
HEADS = ("q_proj", "k_proj", "v_proj", "o_proj")


def layers_of(model: Any) -> list[Any]:
    """The layers of *model*, each with ``mlp`` and ``self_attn`` of plain linear layers.

    Raises:
        GuidewayError: it is built in another way.
    """
    layers = list(getattr(getattr(model, "model", None), "layers", ()))
    if not layers or not all(_usual(layer) for layer in layers):
        raise GuidewayError(
            f"a {type(model).__name__} cannot be pruned: its layers are not built like Llama's",
            where="compress.prune",
            try_this="remove it, or choose a base such as Llama, Mistral or Qwen",
        )
    return layers


def matrices(layer: Any, what: str) -> list[torch.nn.Linear]:
    """The linear layers of one layer that belong to *what*: ``mlp`` or ``heads``."""
    part, names = (layer.mlp, MLP) if what == "mlp" else (layer.self_attn, HEADS)
    return [getattr(part, name) for name in names]


def _usual(layer: Any) -> bool:
    parts = ((getattr(layer, "mlp", None), MLP), (getattr(layer, "self_attn", None), HEADS))
    return all(isinstance(getattr(part, name, None), torch.nn.Linear) for part, names in parts for name in names)
