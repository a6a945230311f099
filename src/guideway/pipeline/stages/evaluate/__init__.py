"""Evaluate: loss, perplexity and exact answers on every split, of both models; slices and damaged prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Spec
from guideway.pipeline.stages.package import shipped

name = "evaluate"
needs = ("data", "train", "compress")
libraries = ("jinja2", "numpy", "onnxruntime", "tokenizers", "torch", "transformers")
code = (
    "guideway.pipeline.stages.examples",
    "guideway.pipeline.stages.intervals",
    "guideway.pipeline.stages.models",
    "guideway.pipeline.stages.threads",
    "guideway.replica.backend",
    "guideway.replica.memory",
    "guideway.replica.onnx_backend",
    "guideway.replica.scheduler",
    "guideway.replica.score",
    "guideway.replica.chat",
    "guideway.replica.text",
)


def params(spec: Spec) -> Mapping[str, Any]:
    """What is asked and how it is answered; what is required of the figures changes none of them."""
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


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """The chat template that the release will answer with.

    Raises:
        SpecError: it is not there.
    """
    template = spec.serve.prompt.template
    if template is None:
        return ()
    if not (root / template).is_file():
        raise SpecError(f"there is no template '{template}'", where=str(root), try_this="mend serve.prompt.template")
    return (root / template,)


def run(job: Job) -> None:
    """Write ``report.json`` and ``report.md`` to ``job.out``, and leave the figures as evidence."""
    from guideway.pipeline.stages.evaluate.measure import measure

    measure(job)
