"""Train: a small Llama from scratch or taught by a larger model; or a Hugging Face folder, whole or by adapters.

Or nothing at all: a model that was trained elsewhere is taken over as it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError, Unavailable
from guideway.core.protocols import Job
from guideway.core.spec import Spec, Train
from guideway.engines import engine
from guideway.kit.machine import Machine, machine
from guideway.pipeline.shapes import trained_shape, use_share
from guideway.pipeline.stages import choose
from guideway.pipeline.stages.depends import READING
from guideway.pipeline.stages.train.base import files_of, refuse_quantised, refuse_unsafe
from guideway.pipeline.stages.train.foreign import files_to_import
from guideway.pipeline.stages.train.kernels import FOUR_BITS
from guideway.pipeline.stages.train.places import BORROWED, RELEASE, check_place, folder_of, is_folder, said_in

name = "train"
needs = ("data",)
uses = ("choose",)
libraries = (
    "numpy",
    "onnx",
    "onnxruntime",
    "opacus",
    "peft",
    "python",
    "safetensors",
    "tokenizers",
    "torch",
    "transformers",
)
code = (
    *READING,
    "guideway.pipeline.stages.choose",
    "guideway.pipeline.stages.classify.learn",
    "guideway.pipeline.stages.classify.model",
    "guideway.pipeline.stages.classify.probe",
    "guideway.pipeline.stages.classify.rows",
    "guideway.pipeline.stages.embed.learn",
    "guideway.pipeline.stages.embed.model",
    "guideway.pipeline.stages.embed.rows",
    "guideway.pipeline.stages.imported",
    "guideway.sealing.reshard",
    "guideway.sealing.tensors",
)

WHOLE = ("full", "lora", "qlora")
"""Recipes that change the weights of a base, or add to them."""


def brings(spec: Spec) -> tuple[str, ...]:
    """What the recipe needs beside ``libraries``."""
    return (FOUR_BITS,) if spec.train.recipe == "qlora" else ()


def check_libraries(train: Train) -> None:
    """Refuse a recipe whose library is not here.

    Raises:
        Unavailable: it is not installed.
    """
    if train.recipe == "qlora" and find_spec(FOUR_BITS) is None:
        raise Unavailable(
            f"recipe 'qlora' needs {FOUR_BITS}, which is not installed",
            try_this="pip install 'guideway[qlora]'; or recipe: lora, with the base in 32 bits",
        )


def params(spec: Spec) -> Mapping[str, Any]:
    """The whole of ``train``; the weights of the sources, if they have any; and the task, where it is no text.

    A tokenizer that is made here is made so that the server which will read it knows how it cuts text into words.
    """
    plain: dict[str, Any] = msgspec.to_builtins(spec.train)
    mixture = [(one.path, one.weight) for one in spec.data.sources if one.weight]
    task = {"task": spec.task} if spec.task in ("classify", "embed") else {}
    known = {"cut": "known"} if spec.train.recipe == "scratch" and engine(spec.serve.engine).format == "gguf" else {}
    return plain | task | known | ({"mixture": mixture} if mixture else {})


def recalls(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What earlier trainings spent, where privacy has a budget."""
    return ("delta", "epsilon") if params["privacy"] else ()


def runs_on(spec: Spec) -> Mapping[str, Any]:
    """The processes are of this machine, or of a cluster: they learn the same."""
    plain: dict[str, Any] = msgspec.to_builtins(spec.runner)
    return plain


def borrows(spec: Spec) -> Mapping[str, str]:
    """The release that training starts from, if it does."""
    said = said_in(msgspec.to_builtins(spec.train))
    return {BORROWED: said} if said and said.startswith(RELEASE) else {}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The files of the folder that training starts from. What is named by a digest or a commit needs none.

    Raises:
        SpecError: it is missing, holds no safetensors, asks for code of its own to be run, or pins nothing.
    """
    said = said_in(msgspec.to_builtins(spec.train))
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
    check_place(said)
    if spec.train.recipe == "import" and is_folder(said):
        return files_to_import(spec, root)
    return _files_of(root / said, said, spec.train.recipe) if is_folder(said) else ()


def _files_of(base: Path, said: str, recipe: str) -> Sequence[Path]:
    """The files of the model in *base*; it has the weights that *recipe* changes."""
    found = files_of(base, said)
    if recipe in WHOLE:
        refuse_quantised(base, said)
    return found


def run(job: Job) -> None:
    """Write a Hugging Face folder (safetensors, tokenizer, chat template) and ``curve.json`` to ``job.out``.

    Raises:
        Refused: a file of the base is unsafe. It is judged before any library that could load it is imported.
        Unavailable: the base is on the hub, which does not answer.
    """
    if job.params["recipe"] == "import":
        from guideway.pipeline.stages.imported import bring_in

        bring_in(job)
        return
    base = base_of(job, job.params)
    if job.runner.get("kind") == "ray":
        from guideway.pipeline.stages.train.on_ray import on_ray

        on_ray(job, base, job.params["processes"])
        return
    look_ahead(job, base, machine(job.out))
    if job.params["processes"] > 1:
        from guideway.pipeline.stages.train.together import together

        together(job, base, job.params["processes"])
        return
    if job.params.get("task") == "classify":
        from guideway.pipeline.stages.classify.learn import learn
    elif job.params.get("task") == "embed":
        from guideway.pipeline.stages.embed.learn import learn
    else:
        from guideway.pipeline.stages.train.learn import learn

    learn(job, base)


def look_ahead(job: Job, base: Path | None, there: Machine) -> None:
    """Leave as evidence which share of what is *there* a training needs, before it begins."""
    train = choose.settings(job, job.params)
    shape = trained_shape(train, base, str(job.params.get("task", "")))
    if shape:
        job.measure("resource_use_share", use_share(train, shape, there), "share", about="out")


def base_of(job: Job, params: Mapping[str, Any]) -> Path | None:
    """The folder of the model that a training with *params* starts from, judged before any library could load it.

    Raises:
        Refused: a file of it is unsafe.
        Unavailable: it is on the hub, which does not answer.
    """
    said = said_in(params)
    if said is None:
        return None
    base = folder_of(job, said)
    _files_of(base, said, params["recipe"])
    refuse_unsafe(base, said)
    return base
