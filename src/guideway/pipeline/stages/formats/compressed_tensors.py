"""Safetensors for vLLM: as trained, or quantised by llm-compressor as compressed-tensors, in an environment apart.

What is measured here is computed by transformers and compressed-tensors, which do what the format means; the kernels
of vLLM are another implementation of it.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from guideway.core.errors import GuidewayError, SpecError
from guideway.engines.vllm import PRECISION as mark
from guideway.engines.vllm import format as name
from guideway.pipeline.stages.formats.tokenizer import copy_tokenizer

if TYPE_CHECKING:
    from guideway.replica.backend import Logits

__all__ = ["environment", "export", "libraries", "mark", "name", "plain", "precisions", "scorer"]


class Scheme(NamedTuple):
    """How a precision is made: the scheme's name in llm-compressor, whether it reads rows (by GPTQ), and the number
    that sizes of matrices must be multiples of.
    """

    name: str
    reads: bool
    multiple: int


SCHEMES = {
    "w8a8": Scheme("W8A8", True, 16),
    "w4a16": Scheme("W4A16", True, 128),
    "fp8": Scheme("FP8_DYNAMIC", False, 16),
}
"""Groups of w4a16 have 128 weights; the kernels for eight bits read 16 at once."""
TYPES = {"fp32": "float32", "bf16": "bfloat16"}
plain = tuple(TYPES)
"""Precisions that need nothing but what trained the model."""
precisions = (*TYPES, *SCHEMES)
libraries: tuple[str, ...] = ()
environment: Path | None = Path(__file__).with_name("vllm.lock")

ROWS = 256
"""Training rows that GPTQ reads."""
SEED = 7


def export(source: Path, out: Path, precision: str) -> None:
    """Write the model in *source* with the type of *precision* to *out*.

    Raises:
        GuidewayError: *precision* needs rows to be made with (`calibrated`), or nobody knows this architecture.
    """
    if precision not in TYPES:
        raise GuidewayError(f"{precision} cannot be made without rows", where="compress.precision")
    _leave(_loaded(source, TYPES[precision]), source, out, {"precision": precision, "dtype": TYPES[precision]})


def calibrated(source: Path, out: Path, precision: str, data: Path) -> None:
    """Write the model in *source* to *out*; what reads rows reads those of training in *data*, drawn by a fixed seed.

    Raises:
        GuidewayError: the sizes of the model do not go with *precision*, or llm-compressor cannot do it.
    """
    if precision in TYPES:
        export(source, out, precision)
        return
    refuse_sizes(precision, sizes_of(source))
    model = _loaded(source, "bfloat16")
    rows = _rows(source, data, model) if SCHEMES[precision].reads else []
    try:
        _quantise(model, precision, rows)
    except Exception as error:
        raise GuidewayError(
            f"the model cannot be made {precision}: {type(error).__name__}: {str(error).strip() or 'no reason'}",
            where="compress.precision",
            try_this="another precision; the log has the whole story",
        ) from error
    made = {"precision": precision, "dtype": "bfloat16", "made_by": f"llmcompressor {version('llmcompressor')}"}
    _leave(model, source, out, made | {"scheme": SCHEMES[precision].name, "rows": len(rows)}, save_compressed=True)
    (out / "recipe.yaml").unlink(missing_ok=True)  # what it says is in the mark


def refuse_sizes(precision: str, sizes: Sequence[int]) -> None:
    """Refuse a model whose matrices have *sizes* that *precision* cannot have.

    Raises:
        SpecError: names the first of them.
    """
    multiple = SCHEMES[precision].multiple if precision in SCHEMES else 1
    for size in sizes:
        if size % multiple:
            raise SpecError(
                f"{precision} needs sizes that are multiples of {multiple}, and this model has one of {size}",
                try_this="another compress.precision, or another train.architecture",
            )


def sizes_of(folder: Path) -> list[int]:
    """The sizes of the matrices of the model in the Hugging Face *folder*, as far as it tells them."""
    config = json.loads((folder / "config.json").read_bytes())
    hidden, heads = config.get("hidden_size"), config.get("num_attention_heads")
    attention = heads * config["head_dim"] if heads and config.get("head_dim") else hidden
    return [size for size in (hidden, attention, config.get("intermediate_size")) if size]


class TorchScorer:
    """An export, computed by transformers with the type that vLLM takes."""

    def __init__(self, folder: Path) -> None:
        from guideway.pipeline.stages.models import Trained

        self._model = Trained(folder, type_of(folder))
        self.context = self._model.context

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after each of *ids*."""
        found: Logits = self._model.logits(ids)
        return found

    def generate_all(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]
    ) -> list[list[int]]:
        """The greedy answers to *prompts*, without the stop tokens that end them."""
        return self._model.answers(prompts, max_tokens, stop_ids)


def scorer(folder: Path, threads: int) -> TorchScorer:  # noqa: ARG001 - torch takes threads by the size of the model
    """Read the export in *folder*."""
    return TorchScorer(folder)


def type_of(folder: Path) -> str:
    """The type that the export in *folder* is computed in."""
    return str(json.loads((folder / mark).read_bytes())["dtype"])


def _loaded(source: Path, dtype: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    safe: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    try:
        return AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype), **safe).eval()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise GuidewayError(f"the model cannot be read: {str(error).splitlines()[0]}", where=source.name) from error


def _quantise(model: Any, precision: str, rows: Sequence[dict[str, list[int]]]) -> None:
    """Quantise every matrix of *model* but the last one, in place."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    torch.manual_seed(SEED)
    scheme = SCHEMES[precision]
    made_by = GPTQModifier if scheme.reads else QuantizationModifier
    recipe = made_by(targets="Linear", scheme=scheme.name, ignore=["lm_head"])
    given: dict[str, Any] = {}
    if rows:
        longest = max(len(row["input_ids"]) for row in rows)
        given = {"dataset": Dataset.from_list(list(rows)), "max_seq_length": longest}
        given |= {"num_calibration_samples": len(rows), "shuffle_calibration_samples": False}
    oneshot(model=model, recipe=recipe, **given)


def _rows(source: Path, data: Path, model: Any) -> list[dict[str, list[int]]]:
    """ROWS rows of training as token ids, or all if they are fewer."""
    from guideway.pipeline.stages.examples import Voice, rows_of

    voice, context = Voice(source), int(getattr(model.config, "max_position_embeddings", 2048))
    found = list(rows_of(data / "train.jsonl"))
    chosen = random.Random(SEED).sample(found, min(ROWS, len(found)))
    ids = [voice.example(row).clipped(context - 1).ids for row in chosen]
    return [{"input_ids": one, "attention_mask": [1] * len(one)} for one in ids]


def _leave(model: Any, source: Path, out: Path, said: dict[str, Any], **how: Any) -> None:
    """Write the model, its tokenizer, and what is *said* of it."""
    model.save_pretrained(out, **how)
    copy_tokenizer(source, out)
    (out / mark).write_text(json.dumps(said, indent=1, sort_keys=True) + "\n", encoding="utf-8")
