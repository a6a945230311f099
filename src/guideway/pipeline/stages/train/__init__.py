"""Train: a small Llama from scratch with its own tokenizer, or the full fine-tuning of a Hugging Face folder."""

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
libraries = ("python", "safetensors", "tokenizers", "torch", "transformers")
code = (
    "guideway.pipeline.stages.classify.learn",
    "guideway.pipeline.stages.classify.model",
    "guideway.pipeline.stages.classify.probe",
    "guideway.pipeline.stages.classify.rows",
    "guideway.pipeline.stages.data.clean",
    "guideway.pipeline.stages.intervals",
    "guideway.pipeline.stages.examples",
    "guideway.pipeline.stages.threads",
    "guideway.replica.chat",
    "guideway.replica.classifier",
    "guideway.replica.text",
    "guideway.sealing.reshard",
    "guideway.sealing.tensors",
)


def params(spec: Spec) -> Mapping[str, Any]:
    """The whole of ``train``; and the task, where it is to classify."""
    plain: dict[str, Any] = msgspec.to_builtins(spec.train)
    return plain | ({"task": spec.task} if spec.task == "classify" else {})


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of the base model, for recipe ``full``.

    Raises:
        SpecError: the base is missing, holds no safetensors, or asks for code of its own to be run.
    """
    if spec.train.recipe == "scratch":
        if spec.train.base is not None:
            raise SpecError(
                "recipe 'scratch' has no base", where="train.base", try_this="remove it, or write recipe: full"
            )
        return ()
    if spec.train.base is None:
        raise SpecError(
            "recipe 'full' needs a base", where="train", try_this="base: FOLDER of a Hugging Face model in safetensors"
        )
    return files_of(root / spec.train.base, spec.train.base)


def run(job: Job) -> None:
    """Write a Hugging Face folder (safetensors, tokenizer, chat template) and ``curve.json`` to ``job.out``.

    Raises:
        Refused: a file of the base is unsafe. It is judged before any library that could load it is imported.
    """
    if job.params["base"] is not None:
        refuse_unsafe(job.root / job.params["base"], job.params["base"])
    if job.params.get("task") == "classify":
        from guideway.pipeline.stages.classify.learn import learn
    else:
        from guideway.pipeline.stages.train.learn import learn

    learn(job)
