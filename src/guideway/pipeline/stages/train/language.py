"""The loss of a causal language model: for training as one sum, for validation row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.train.descent import autocast
from guideway.pipeline.stages.train.loop import Validation

IGNORED = -100
"""The target that the loss leaves out."""
SELECTIVE = frozenset({"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"})
"""Models whose logits are just ``lm_head(hidden)``: there, logits are computed only where a token is predicted."""


class Batch(NamedTuple):
    """Token ids and what follows each, rows by tokens; ``wanted`` is where a token is predicted."""

    ids: torch.Tensor
    targets: torch.Tensor
    wanted: torch.Tensor


def loss(model: Any, examples: Sequence[Example]) -> tuple[torch.Tensor, int]:
    """The loss over all predicted tokens of *examples* as a sum, in nats, and how many there are."""
    batch = tensors(examples, model.device)
    total = torch.nn.functional.cross_entropy(logits(model, batch), batch.targets[batch.wanted], reduction="sum")
    return total, int(batch.wanted.sum())


def logits(model: Any, batch: Batch) -> torch.Tensor:
    """The logits of every predicted token of *batch*, in float32: predicted tokens by vocabulary."""
    if type(model).__name__ in SELECTIVE:
        hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
        found = model.lm_head(hidden[batch.wanted])
    else:
        found = model(input_ids=batch.ids, use_cache=False).logits[batch.wanted]
    return torch.as_tensor(found).float()


def tensors(examples: Sequence[Example], device: torch.device) -> Batch:
    """Inputs and targets, padded on the right: attention is causal, so no real token ever sees the padding."""
    longest = max(len(example.ids) for example in examples) - 1
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    targets = torch.full((len(examples), longest), IGNORED, dtype=torch.long)
    for row, example in enumerate(examples):
        tokens = torch.tensor(example.ids)
        ids[row, : len(tokens) - 1] = tokens[:-1]
        targets[row, example.start - 1 : len(tokens) - 1] = tokens[example.start :]
    ids, targets = ids.to(device), targets.to(device)
    return Batch(ids, targets, targets != IGNORED)


class RowLosses(NamedTuple):
    """The loss of each row as a sum over its predicted tokens, in nats; and how many tokens that are."""

    sums: list[float]
    tokens: list[int]


def row_losses(model: Any, examples: Sequence[Example], size: int, precision: str = "fp32") -> RowLosses:
    """The loss of every one of *examples*, *size* at a time, in their order. No gradients."""
    order = sorted(range(len(examples)), key=lambda index: len(examples[index].ids))
    sums = [0.0] * len(examples)
    for at in range(0, len(order), size):
        chosen = order[at : at + size]
        batch = tensors([examples[index] for index in chosen], model.device)
        with torch.no_grad(), autocast(precision):
            each = torch.nn.functional.cross_entropy(
                logits(model, batch), batch.targets[batch.wanted], reduction="none"
            )
        rows = torch.zeros(len(chosen), device=each.device).index_add_(0, batch.wanted.nonzero()[:, 0], each)
        for index, total in zip(chosen, rows.tolist(), strict=True):
            sums[index] = total
    return RowLosses(sums, [example.predicted for example in examples])


def validation_of(found: RowLosses, samples: tuple[str, ...] = ()) -> Validation:
    """The mean loss per token, and its standard error when whole rows are drawn again."""
    rows, tokens = len(found.sums), sum(found.tokens)
    mean = sum(found.sums) / tokens
    spread = sum((total - mean * count) ** 2 for total, count in zip(found.sums, found.tokens, strict=True))
    error = math.sqrt(spread * rows / (rows - 1)) / tokens if rows > 1 else None
    return Validation(mean, error, rows, samples)
