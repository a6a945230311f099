"""The classifier in torch: an encoder as transformers has it, the mean of its last hidden states, a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.classify.rows import Case
from guideway.replica.classifier import Probabilities, padded, softmax

HEAD = "head.safetensors"
AT_ONCE = 64
"""Texts computed at once where nothing is learnt."""


class EncoderClassifier(torch.nn.Module):
    """Token ids to logits. ``encoder`` is a bidirectional model of transformers; padding takes no part in the mean."""

    def __init__(self, encoder: Any, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = torch.nn.Linear(int(encoder.config.hidden_size), classes)
        torch.nn.init.normal_(self.head.weight, std=0.02)
        torch.nn.init.zeros_(self.head.bias)

    def features(self, ids: torch.Tensor, mask: torch.Tensor, attention: torch.Tensor | None = None) -> torch.Tensor:
        """The mean hidden state [rows, hidden] of ids [rows, tokens]; *attention* replaces *mask* in the encoder."""
        asked = mask if attention is None else attention
        hidden = self.encoder(input_ids=ids, attention_mask=asked).last_hidden_state
        weight = mask[:, :, None].to(hidden.dtype)
        mean: torch.Tensor = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
        return mean

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The logits [rows, classes]."""
        logits: torch.Tensor = self.head(self.features(ids, mask))
        return logits

    def save(self, folder: Path) -> None:
        """Write the encoder as transformers does, and the head beside it."""
        self.encoder.save_pretrained(folder)
        save_file({"weight": self.head.weight.data, "bias": self.head.bias.data}, folder / HEAD, {"format": "pt"})


def load_encoder(folder: Path, attention: str = "sdpa") -> Any:
    """The encoder in a Hugging Face *folder*: safetensors only, no code of its own, nothing from a network.

    Raises:
        GuidewayError: transformers cannot read it, or it is no encoder.
    """
    try:
        encoder = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation=attention,
        )
    except Exception as error:
        raise _no_encoder(folder, str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    if getattr(encoder.config, "is_encoder_decoder", False) or hasattr(encoder.config, "num_key_value_heads"):
        raise _no_encoder(folder, f"{type(encoder).__name__} is no encoder")
    return encoder


def load_classifier(folder: Path, attention: str = "sdpa") -> EncoderClassifier:
    """The classifier that stage train wrote into *folder*, ready to be asked."""
    head = load_file(folder / HEAD)
    model = EncoderClassifier(load_encoder(folder, attention), len(head["bias"]))
    model.head.load_state_dict(head)
    return model.eval()


def tensors(batch: Sequence[Case], device: torch.device | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask [rows, tokens] of *batch*."""
    ids, mask = padded([case.ids for case in batch])
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


@torch.inference_mode()
def probabilities(model: EncoderClassifier, cases: Sequence[Case]) -> Probabilities:
    """What *model* says of *cases*, in their order; texts of like length are computed together."""
    order = sorted(range(len(cases)), key=lambda index: len(cases[index].ids))
    found = np.empty((len(cases), model.head.out_features), np.float32)
    for at in range(0, len(order), AT_ONCE):
        chosen = order[at : at + AT_ONCE]
        found[chosen] = softmax(model(*tensors([cases[index] for index in chosen])).numpy())
    return found


def _no_encoder(folder: Path, why: str) -> GuidewayError:
    return GuidewayError(
        f"the base cannot be used: {why}",
        where=folder.name,
        try_this="give a folder with a bidirectional encoder, such as BERT or RoBERTa",
    )
