"""The sentence encoder in torch: an encoder as transformers has it, its tokens pooled, and the length made 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guideway.pipeline.stages.classify.model import AT_ONCE, load_encoder
from guideway.replica.classifier import padded
from guideway.replica.embedder import Embeddings, read_settings

SMALLEST = 1e-12
"""A length below which a vector points nowhere: it is divided by this instead of by 0."""


class SentenceEncoder(torch.nn.Module):
    """Token ids to embeddings of length 1. ``encoder`` is a bidirectional model of transformers."""

    def __init__(self, encoder: Any, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling

    @property
    def width(self) -> int:
        """How many numbers an embedding has."""
        return int(self.encoder.config.hidden_size)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, attention: torch.Tensor | None = None) -> torch.Tensor:
        """The embeddings [rows, width] of ids [rows, tokens]; *attention* replaces *mask* in the encoder."""
        asked = mask if attention is None else attention
        hidden = self.encoder(input_ids=ids, attention_mask=asked).last_hidden_state
        weight = mask[:, :, None].to(hidden.dtype)
        pooled = hidden[:, 0] if self.pooling == "cls" else (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=-1, eps=SMALLEST)


def load_embedder(folder: Path, attention: str = "sdpa") -> SentenceEncoder:
    """The sentence encoder that stage train wrote into *folder*, ready to be asked."""
    return SentenceEncoder(load_encoder(folder, attention), read_settings(folder).pooling).eval()


def tensors(batch: Sequence[Sequence[int]], device: torch.device | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [rows, tokens] of *batch*."""
    ids, mask = padded(batch)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


@torch.inference_mode()
def embed(model: SentenceEncoder, texts: Sequence[Sequence[int]]) -> Embeddings:
    """Where *model* sees the *texts*, in their order; those of like length are computed together."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    found = np.empty((len(texts), model.width), np.float32)
    for at in range(0, len(order), AT_ONCE):
        chosen = order[at : at + AT_ONCE]
        found[chosen] = model(*tensors([texts[index] for index in chosen])).numpy()
    return found
