"""A Hugging Face folder, taken over: the same tensors, tokenizer and configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import safe_open

from guideway.core.errors import Corrupt
from guideway.pipeline.stages.train.base import READ
from guideway.sealing.reshard import reshard_in_place


def bring_in(base: Path, out: Path) -> int:
    """Copy the model in the folder *base* to *out*, in canonical shards; how many weights it has.

    Raises:
        Corrupt: a file of weights is broken, or one of them is no number.
    """
    for path in sorted(base.iterdir()):
        if path.is_file() and path.suffix in READ:
            shutil.copyfile(path, out / path.name)
    reshard_in_place(out)
    return sum(_checked(path) for path in sorted(out.glob("*.safetensors")))


def _checked(path: Path) -> int:
    """How many weights the file at *path* has."""
    count = 0
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - it is no dict
            tensor = file.get_tensor(name)
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor.float()).all()):
                raise Corrupt(f"{name} holds weights that are NaN or infinite", where=path.name)
            count += tensor.numel()
    return count
