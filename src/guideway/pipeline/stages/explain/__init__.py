"""Explain: which words of held-out texts made the answers of the model that ships, and whether that is to be believed.

Runs only when the spec asks for it, and nothing depends on it: a build without ``explain`` is as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guideway.core.protocols import Job
from guideway.core.spec import Explain, Spec
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.package import shipped

name = "explain"
needs = ("data", "train", "compress")
libraries = (*evaluate.libraries, "captum", "scikit-learn", "shap")
code = (*evaluate.code, "guideway.pipeline.stages.evaluate.answers", "guideway.replica.torch_backend")


def wanted(spec: Spec) -> bool:
    """Does *spec* ask for explanations?"""
    return spec.explain is not None


environment, brings = evaluate.environment, evaluate.brings


def params(spec: Spec) -> Mapping[str, Any]:
    """What is explained and how, and how the release answers."""
    asked = spec.explain or Explain()
    judged = [name for name, split in spec.data.splits.items() if split.judged]
    judged.sort(key=lambda name: name == spec.train.validation.split)  # what training stopped by is the last choice
    return {
        "examples": asked.examples,
        "method": asked.method,
        "split": asked.split or next(iter(judged), ""),
        "seed": asked.seed,
        "task": spec.task,
        "max_tokens": min(spec.evaluate.max_tokens, spec.serve.decoding.max_tokens),
        "stop": list(spec.serve.decoding.stop),
        "system": spec.serve.prompt.system,
        "template": spec.serve.prompt.template,
        "ships": shipped(spec),
    }


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The chat template that the release will answer with.

    Raises:
        SpecError: it is not there.
    """
    return evaluate.sources(spec, root)


def run(job: Job) -> None:
    """Write ``attributions.jsonl``, ``report.html`` and ``report.zh.html``, and leave the deletion test as evidence."""
    from guideway.pipeline.stages.explain.measure import measure

    measure(job)
