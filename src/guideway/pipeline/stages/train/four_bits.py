"""A base that is held in four bits while adapters learn on it (QLoRA, Dettmers et al. 2023), by bitsandbytes.

It is made while the base is read, and never written: what ships is the whole base with the adapters merged into it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from guideway.core.errors import Unavailable
from guideway.pipeline.stages.train.kernels import bring_bitsandbytes
from guideway.pipeline.stages.train.start import load_base


def load_in_four_bits(folder: Path, precision: str) -> tuple[Any, Any]:
    """Model and tokenizer of a Hugging Face *folder*; its matrices are NF4 in blocks of 64, computed in *precision*.

    The scales of the blocks are quantised too. The first and the last layer, norms and biases stay in float32.

    Raises:
        GuidewayError: transformers cannot read it.
        Unavailable: bitsandbytes is not installed.
    """
    library = bring_bitsandbytes()
    if library is None:
        raise Unavailable("bitsandbytes is not installed", try_this="pip install 'guideway[qlora]'")
    held = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if precision == "bf16" else torch.float32,
    )
    model, tokenizer = load_base(folder, held)
    for layer in model.modules():
        if isinstance(layer, library.nn.Linear4bit):
            # Else the first validation on some processors would round the scales to bfloat16, and leave them so.
            layer.support_avx512bf16_for_cpu = False
    return model, tokenizer
