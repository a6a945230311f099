"""Structured pruning: whole channels of the feed-forward layers, or whole attention heads, are cut out.

A channel matters as much as what it adds to the layer's output on training rows: the root mean square of what comes
out of it, times the norm of the weights that it is multiplied with (after Sun et al. 2023,
https://arxiv.org/abs/2306.11695, summed over a channel).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.compress.parts import layers_of
from guideway.pipeline.stages.examples import Example

BLOCK = 64
"""The export stores weights in blocks of 32, and for int4 in pairs of them."""


def cut(model: Any, what: str, share: float, examples: Sequence[Example]) -> None:
    """Cut *share* of the channels (``mlp``) or of the ``heads`` out of every layer of *model*, and tell its config.

    The model is whole again when it is saved and loaded. All layers keep the same number, which the config names once.

    Raises:
        GuidewayError: this architecture cannot be pruned, or the share comes to nothing that it could be.
    """
    layers = layers_of(model)
    if what == "mlp":
        scores = _importance(model, [layer.mlp.down_proj for layer in layers], examples)
        _cut_channels(model, layers, scores, share)
    else:
        scores = _importance(model, [layer.self_attn.o_proj for layer in layers], examples)
        _cut_heads(model, layers, scores, share)


@torch.no_grad()
def _importance(model: Any, linears: Sequence[torch.nn.Linear], examples: Sequence[Example]) -> list[torch.Tensor]:
    """How much each input of each of *linears* adds to its output, on *examples*."""
    squares = [torch.zeros(linear.in_features, dtype=torch.float64) for linear in linears]

    def watch(total: torch.Tensor) -> Any:
        def add(_: Any, given: tuple[torch.Tensor]) -> None:
            total.add_(given[0].double().square().flatten(0, -2).sum(dim=0))

        return add

    hooks = [linear.register_forward_pre_hook(watch(total)) for linear, total in zip(linears, squares, strict=True)]
    model.eval()
    for example in examples:
        model.model(torch.tensor([example.ids[:-1]]), use_cache=False)
    for hook in hooks:
        hook.remove()
    norms = [linear.weight.double().norm(dim=0) for linear in linears]
    return [total.sqrt() * norm for total, norm in zip(squares, norms, strict=True)]


def _cut_channels(model: Any, layers: Sequence[Any], scores: Sequence[torch.Tensor], share: float) -> None:
    before = len(scores[0])
    left = BLOCK * round(before * (1 - share) / BLOCK)
    if not 0 < left < before:
        raise GuidewayError(
            f"{share:.0%} of {before} channels cannot be cut: whole blocks of {BLOCK} go or stay",
            where="compress.prune.share",
            try_this="another share",
        )
    for layer, score in zip(layers, scores, strict=True):
        kept = _best(score, left)
        for linear in (layer.mlp.gate_proj, layer.mlp.up_proj):
            _keep_outputs(linear, kept)
        _keep_inputs(layer.mlp.down_proj, kept)
    model.config.intermediate_size = left


def _cut_heads(model: Any, layers: Sequence[Any], scores: Sequence[torch.Tensor], share: float) -> None:
    """Cut whole groups, which are one head of keys and values with its heads of queries.

    Where *share* is less than half a group, every group loses the same number of its heads of queries.
    """
    config = model.config
    groups, heads = config.num_key_value_heads, config.num_attention_heads
    inside, size = heads // groups, len(scores[0]) // heads
    lost, lost_inside = round(share * groups), 0
    if not lost:
        lost_inside = round(share * inside)
    left, left_inside = groups - lost, inside - lost_inside
    _accept_heads(config, left, left_inside, share)
    for layer, score in zip(layers, scores, strict=True):
        each = score.reshape(groups, inside, size).sum(dim=-1)
        group = _best(each.sum(dim=-1), left)
        queries = torch.cat([one * inside + _best(each[one], left_inside) for one in group.tolist()])
        attention = layer.self_attn
        _keep_outputs(attention.q_proj, _dims(queries, size))
        for linear in (attention.k_proj, attention.v_proj):
            _keep_outputs(linear, _dims(group, size))
        _keep_inputs(attention.o_proj, _dims(queries, size))
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = left * left_inside, left, size


def _accept_heads(config: Any, groups: int, inside: int, share: float) -> None:
    """Refuse numbers of heads that are none, all, or that the architecture does not take."""
    heads, before = groups * inside, config.num_attention_heads
    plain = {**config.to_dict(), "num_attention_heads": heads, "num_key_value_heads": groups}
    try:
        if 0 < heads < before:
            type(config)(**plain)
            return
        why = "that is none of them, or all"
    except StrictDataclassError as error:
        why = " ".join(str(error.__cause__ or error).split())
    raise GuidewayError(
        f"{share:.0%} of {before} heads in {config.num_key_value_heads} groups cannot be cut: {why}",
        where="compress.prune.share",
        try_this="another share, or what: mlp",
    )


def _best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """The places of the *count* highest *scores*, in their order."""
    return torch.sort(torch.argsort(scores, descending=True, stable=True)[:count]).values


def _dims(heads: torch.Tensor, size: int) -> torch.Tensor:
    """The channels of *heads*, each *size* long."""
    return (heads[:, None] * size + torch.arange(size)).flatten()


@torch.no_grad()
def _keep_outputs(linear: torch.nn.Linear, kept: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(linear.weight[kept].clone())
    if linear.bias is not None:
        linear.bias = torch.nn.Parameter(linear.bias[kept].clone())
    linear.out_features = len(kept)


@torch.no_grad()
def _keep_inputs(linear: torch.nn.Linear, kept: torch.Tensor) -> None:
    linear.weight = torch.nn.Parameter(linear.weight[:, kept].clone())
    linear.in_features = len(kept)
