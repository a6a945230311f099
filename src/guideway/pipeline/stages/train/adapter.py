"""Low-rank adapters (Hu et al. 2021): what learns is small, and is merged into the base in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
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

    def merge(self, out: Path) -> None:
        """Write the adapter alone to *out*, in the format of peft; then add it to the weights of the model."""
        out.mkdir()
        tensors = {name: one.cpu().contiguous() for name, one in get_peft_model_state_dict(self._inside).items()}
        save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
        plain = self._config.to_dict() | {"base_model_name_or_path": self.base, "inference_mode": True}
        text = json.dumps(plain, indent=1, sort_keys=True, default=sorted)  # the targets are a set
        (out / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
        self._inside.merge_and_unload()


def _no_target(what: str) -> GuidewayError:
    return GuidewayError(
        what, where="train.lora.targets", try_this="name linear layers of the base, or none: then all of them learn"
    )
