"""Evaluate: answers, classes, or what embeddings find, on every split, of both models; slices and damaged prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.stages.depends import SERVING
from guideway.pipeline.stages.formats import environment_for, format_of
from guideway.pipeline.stages.package import shipped
from guideway.pipeline.stages.train.base import files_of
from guideway.pipeline.stages.train.places import is_folder

name = "evaluate"
needs = ("data", "train", "compress")
uses = ("choose",)
libraries = ("jinja2", "numpy", "onnxruntime", "scikit-learn", "tokenizers", "torch", "transformers")
code = (
    *SERVING,
    "guideway.pipeline.stages.choose",
    "guideway.pipeline.stages.classify",
    "guideway.pipeline.stages.compress.sizes",
    "guideway.pipeline.stages.embed",
    "guideway.pipeline.stages.explain.page",
    "guideway.pipeline.stages.explain.phrases",
    "guideway.pipeline.stages.explain.places",
    "guideway.pipeline.stages.explain.plots",
    "guideway.pipeline.stages.explain.record",
)
SPEAKING = (
    *code,
    "guideway.pipeline.stages.evaluate.answers",
    "guideway.pipeline.stages.evaluate.speaker",
    "guideway.pipeline.stages.evaluate.voice",
)
"""The code of a stage that asks the release as its users do."""


def environment(spec: Spec) -> Path | None:
    """Where the format of the engine is read."""
    return environment_for(spec)


def brings(spec: Spec) -> tuple[str, ...]:
    """What the format of the engine needs beside ``libraries``."""
    return format_of(spec).libraries


def params(spec: Spec) -> Mapping[str, Any]:
    """What is asked and how it is answered; what is required of the figures changes none of them."""
    if spec.task == "classify":
        return _of_a_classifier(spec)
    if spec.task == "embed":
        asked = {"task": spec.task, "examples": spec.evaluate.examples, "seed": spec.data.seed}
        return asked | {"train": msgspec.to_builtins(spec.train)}
    return {
        "examples": spec.evaluate.examples,
        "max_tokens": min(spec.evaluate.max_tokens, spec.serve.decoding.max_tokens),
        "stop": list(spec.serve.decoding.stop),
        "system": spec.serve.prompt.system,
        "template": spec.serve.prompt.template,
        "ships": shipped(spec),
        "seed": spec.data.seed,
        "judged": [name for name, split in spec.data.splits.items() if split.judged],
        "slices": msgspec.to_builtins(spec.evaluate.slices),
        "perturb": msgspec.to_builtins(spec.evaluate.perturb),
    }


def _of_a_classifier(spec: Spec) -> Mapping[str, Any]:
    params: dict[str, Any] = {"task": spec.task, "examples": spec.evaluate.examples, "seed": spec.data.seed}
    folds = {"folds": spec.evaluate.folds, "train": msgspec.to_builtins(spec.train) if spec.evaluate.folds else None}
    outlier = spec.serve.guardrails.outlier
    params |= {"ordinary": outlier.strictest} if outlier else {}
    return params | folds | {"validation": spec.train.validation.split, "class_floor": spec.evaluate.class_floor}


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The chat template that the release will answer with; the base, where a classifier is trained in folds, and
    where embeddings are compared with it.

    Raises:
        SpecError: it is not there.
    """
    if spec.task == "classify" and spec.evaluate.folds:
        base = str(spec.train.base)
        if not is_folder(base):
            advice = "copy the base into a folder, or leave folds out"
            raise SpecError("folds need a base that is a folder", where="evaluate.folds", try_this=advice)
        return files_of(root / base, base)
    if spec.task == "embed":
        base = str(spec.train.base)
        return files_of(root / base, base) if spec.train.steps and is_folder(base) else ()
    template = spec.serve.prompt.template
    if template is None:
        return ()
    if not (root / template).is_file():
        raise SpecError(f"there is no template '{template}'", where=str(root), try_this="mend serve.prompt.template")
    return (root / template,)


def run(job: Job) -> None:
    """Write ``report.json`` and ``report.md`` to ``job.out``, and leave the figures as evidence."""
    if job.params.get("task") == "classify":
        from guideway.pipeline.stages.classify.measure import measure
    elif job.params.get("task") == "embed":
        from guideway.pipeline.stages.embed.measure import measure
    else:
        from guideway.pipeline.stages.evaluate.measure import measure

    measure(job)
