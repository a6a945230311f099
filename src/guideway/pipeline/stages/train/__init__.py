"""Train: a small Llama from scratch or taught by a larger model; or a Hugging Face folder, whole or by adapters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.stages.train.base import files_of, refuse_unsafe

name = "train"
needs = ("data",)
libraries = ("peft", "python", "safetensors", "tokenizers", "torch", "transformers")
code = (
    "guideway.pipeline.stages.data.clean",
    "guideway.pipeline.stages.intervals",
    "guideway.pipeline.stages.examples",
    "guideway.pipeline.stages.threads",
    "guideway.replica.chat",
    "guideway.replica.text",
    "guideway.sealing.reshard",
    "guideway.sealing.tensors",
)


def params(spec: Spec) -> Mapping[str, Any]:
    """The whole of ``train``; and the weights of the sources, if they have any."""
    plain: dict[str, Any] = msgspec.to_builtins(spec.train)
    mixture = [(one.path, one.weight) for one in spec.data.sources if one.weight]
    return plain | ({"mixture": mixture} if mixture else {})


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of the model that training starts from, or learns from.

    Raises:
        SpecError: it is missing, holds no safetensors, or asks for code of its own to be run.
    """
    said = _start_of(msgspec.to_builtins(spec.train))
    if spec.train.recipe == "scratch":
        if spec.train.base is not None:
            raise SpecError(
                "recipe 'scratch' has no base", where="train.base", try_this="remove it, or write recipe: full"
            )
        return ()
    if said is None:
        raise SpecError(
            f"recipe '{spec.train.recipe}' needs a base",
            where="train",
            try_this="base: FOLDER of a Hugging Face model in safetensors",
        )
    return files_of(root / said, said)


def run(job: Job) -> None:
    """Write a Hugging Face folder (safetensors, tokenizer, chat template) and ``curve.json`` to ``job.out``.

    Raises:
        Refused: a file of the base is unsafe. It is judged before any library that could load it is imported.
    """
    said = _start_of(job.params)
    if said is not None:
        refuse_unsafe(job.root / said, said)
    from guideway.pipeline.stages.train.learn import learn

    learn(job)


def _start_of(params: Mapping[str, Any]) -> str | None:
    """The folder of the model that training starts from: the teacher goes before the base."""
    said: str | None = params["teacher"] or params["base"]
    return said
