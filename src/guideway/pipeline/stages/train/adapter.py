"""Low-rank adapters (Hu et al. 2021): what learns is small, and is merged into the base in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file

from guideway.core.errors import GuidewayError
from guideway.core.spec import Lora


class Adapter:
    """Adapters in the linear layers of *model*, whose own weights no longer learn. *base* is how the spec names it.

    Raises:
        GuidewayError: no layer has the name of a target, or it is one of two that share their weights.
    """

    def __init__(self, model: Any, asked: Lora, base: str) -> None:
        self.base = base
        self._config = LoraConfig(
            r=asked.rank,
            lora_alpha=asked.alpha,
            lora_dropout=asked.dropout,
            target_modules=list(asked.targets) or "all-linear",
            task_type="CAUSAL_LM",
        )
        try:
            self._inside: Any = get_peft_model(model, self._config)
        except ValueError as error:
            raise _no_target(str(error).splitlines()[0]) from error
        ends = (model.get_input_embeddings(), model.get_output_embeddings())
        if model.config.tie_word_embeddings and any(hasattr(layer, "lora_A") for layer in ends):
            raise _no_target("the first and the last layer of this base share their weights: neither can have its own")

    @property
    def size(self) -> int:
        """How many weights learn."""
        return sum(weight.numel() for weight in self._inside.parameters() if weight.requires_grad)

    def save(self, out: Path) -> None:
        """Write the adapter alone to *out*, in the format of peft."""
        out.mkdir()
        save_file(self._tensors(), out / "adapter_model.safetensors", metadata={"format": "pt"})
        plain = self._config.to_dict() | {"base_model_name_or_path": self.base, "inference_mode": True}
        text = json.dumps(plain, indent=1, sort_keys=True, default=sorted)  # the targets are a set
        (out / "adapter_config.json").write_text(text + "\n", encoding="utf-8")

    def merge(self) -> None:
        """Add the adapter to the weights of the model that it is in."""
        self._inside.merge_and_unload()

    def move(self, load: Callable[[], Any]) -> Any:
        """Put the adapter into the model that *load* brings, and return that; the one it was in is let go before."""
        tensors = self._tensors()
        self._inside = None
        model = load()
        self._inside = get_peft_model(model, self._config)
        unknown = set_peft_model_state_dict(self._inside, tensors).unexpected_keys
        assert not unknown, unknown
        return model

    def _tensors(self) -> dict[str, torch.Tensor]:
        found = get_peft_model_state_dict(self._inside)
        return {name: one.detach().cpu().contiguous() for name, one in found.items()}


def _no_target(what: str) -> GuidewayError:
    return GuidewayError(
        what, where="train.lora.targets", try_this="name linear layers of the base, or none: then all of them learn"
    )
