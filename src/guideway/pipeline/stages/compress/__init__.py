"""Compress: export the trained model for plain ONNX Runtime, and measure how far it moved.

Of a classifier the threshold is set here too, because it belongs to the very model that ships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guideway.core.protocols import Job
from guideway.core.spec import Spec

name = "compress"
needs = ("data", "train")
libraries = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-genai", "tokenizers", "torch", "transformers")
code = (
    "guideway.pipeline.stages.classify.compress",
    "guideway.pipeline.stages.classify.export",
    "guideway.pipeline.stages.classify.model",
    "guideway.pipeline.stages.classify.rows",
    "guideway.pipeline.stages.classify.shipped",
    "guideway.pipeline.stages.classify.threshold",
    "guideway.pipeline.stages.evaluate.splits",
    "guideway.pipeline.stages.examples",
    "guideway.pipeline.stages.intervals",
    "guideway.pipeline.stages.models",
    "guideway.pipeline.stages.threads",
    "guideway.replica.backend",
    "guideway.replica.onnx_backend",
    "guideway.replica.scheduler",
    "guideway.replica.score",
    "guideway.replica.chat",
    "guideway.replica.classifier",
    "guideway.replica.session",
    "guideway.replica.text",
)


def params(spec: Spec) -> Mapping[str, Any]:
    """The precision, and what the threshold of a classifier is set by. Limits are judged later and change nothing."""
    params: dict[str, Any] = {"precision": spec.compress.precision}
    if spec.task == "classify":
        outside = "" if spec.data.learn_out_of_scope else spec.data.out_of_scope
        params |= {"task": spec.task, "out_of_scope": outside, "validation": spec.train.validation.split}
    return params


def sources(spec: Spec, root: Path) -> Sequence[Path]:  # noqa: ARG001 - the protocol of stages
    """Nothing outside the store."""
    return ()


def run(job: Job) -> None:
    """Write ``model.onnx``, what describes it, and the tokenizer to ``job.out``."""
    if job.params.get("task") == "classify":
        from guideway.pipeline.stages.classify.compress import compress

        compress(job)
        return
    from guideway.pipeline.stages.compress.distance import measure_distance
    from guideway.pipeline.stages.compress.export import export

    precision = job.params["precision"]
    job.progress(0, 10, f"exporting to {precision}")
    export(job.inputs["train"], job.out, precision)
    before, after = _weights(job.inputs["train"], ".safetensors"), _weights(job.out, ".onnx", ".data")
    job.measure("model_bytes", after, "bytes", about="out", source="train")
    job.fact(f"{precision}: {before / 1e6:.1f} MB to {after / 1e6:.1f} MB")
    measure_distance(job)


def _weights(folder: Path, *suffixes: str) -> int:
    """Bytes in the files of *folder* that end so."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in suffixes)
