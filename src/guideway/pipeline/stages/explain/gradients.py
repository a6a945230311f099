"""Integrated gradients by captum: along the way from no text to the text, how each token moves the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients

from guideway.pipeline.stages.explain.attribution import Floats, Token

STEPS = 48
AT_ONCE = 16
"""Points on the way that are computed in one batch."""

Span = tuple[int, int]
"""Characters ``[start, end)`` of a text that a token id stands for."""
OUTSIDE: Span = (0, 0)
"""Of an id that stands for nothing in it."""


def integrated_gradients(
    score: Callable[[torch.Tensor], torch.Tensor], embedded: torch.Tensor, explained: Sequence[bool]
) -> Floats:
    """The weight of each token id (Sundararajan, Taly & Yan 2017); those not *explained* stay as they are.

    Args:
        score: from embeddings [variants, ids, width] to the scores [variants] of the target.
        embedded: the embeddings [ids, width] of the text.
        explained: which ids the way starts without: their embeddings are zero there.
    """
    kept = torch.tensor([not one for one in explained], dtype=embedded.dtype)[:, None]
    whole: Any = embedded.detach()[None]
    found = IntegratedGradients(score).attribute(
        whole, baselines=whole * kept, n_steps=STEPS, internal_batch_size=AT_ONCE
    )
    return np.asarray(found[0].sum(dim=-1).detach().numpy(), dtype=float)


def pooled(weights: Floats, spans: Sequence[Span], tokens: Sequence[Token]) -> Floats:
    """The weights of token ids, which stand at *spans* of the text, summed over the tokens that they are part of."""
    found = np.zeros(len(tokens))
    for weight, (start, end) in zip(weights, spans, strict=True):
        shares = [max(0, min(end, token.end) - max(start, token.start)) for token in tokens]
        if sum(shares):
            found += weight * np.array(shares) / sum(shares)
    return found
