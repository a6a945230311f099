"""Compress: export the trained model for the engine that serves, and measure how far it moved.

Where candidates are compared, or the model is pruned first, their speed is measured too, and a report says why which
one ships. The bytes of the model depend on the inputs and on that choice alone.

Of a classifier the threshold is set here too, because it belongs to the very model that ships.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec import Spec, is_graph
from guideway.pipeline.stages.depends import SERVING
from guideway.pipeline.stages.formats import FORMATS, environment_for, export, format_of

name = "compress"
needs = ("data", "train")
libraries = ("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-genai", "tokenizers", "torch", "transformers")
code = (
    *SERVING,
    "guideway.pipeline.stages.classify.compress",
    "guideway.pipeline.stages.classify.export",
    "guideway.pipeline.stages.classify.meaning",
    "guideway.pipeline.stages.classify.model",
    "guideway.pipeline.stages.classify.rows",
    "guideway.pipeline.stages.classify.shipped",
    "guideway.pipeline.stages.classify.threshold",
    "guideway.pipeline.stages.embed.compress",
    "guideway.pipeline.stages.embed.export",
    "guideway.pipeline.stages.embed.model",
    "guideway.pipeline.stages.embed.rows",
    "guideway.pipeline.stages.embed.shipped",
    "guideway.pipeline.stages.train",
)


def environment(spec: Spec) -> Path | None:
    """Where the format of the engine is made."""
    return environment_for(spec)


def brings(spec: Spec) -> tuple[str, ...]:
    """What the format of the engine needs beside ``libraries``."""
    return format_of(spec).libraries


def params(spec: Spec) -> Mapping[str, Any]:
    """Format and precision; with candidates the limits too, for they choose; with pruning how the model was trained.

    Else limits are judged later and change nothing. A classifier has what its threshold is set by, and the strictest
    bound for outliers; embeddings what turns their cosines into probabilities.
    """
    asked = spec.compress
    params: dict[str, Any] = {"precision": asked.precision}
    if is_graph(spec):
        return params | {"graph": True}
    if spec.task == "classify":
        outside = "" if spec.data.learn_out_of_scope else spec.data.out_of_scope
        params |= {"task": spec.task, "out_of_scope": outside, "validation": spec.train.validation.split}
        outlier = spec.serve.guardrails.outlier
        return params | ({"ordinary": outlier.strictest} if outlier else {})
    if spec.task == "embed":
        return params | {"task": spec.task, "temperature": spec.train.contrast.temperature}
    params["format"] = format_of(spec).name
    if asked.precision == "auto":
        params["candidates"] = asked.candidates
    if asked.precision == "auto" or asked.prune:
        params |= {"max_kl": asked.max_kl, "max_flips": asked.max_flips, "prune": msgspec.to_builtins(asked.prune)}
    if asked.prune:
        params["train"] = msgspec.to_builtins(spec.train)
    return params


def sources(spec: Spec, root: Path) -> Sequence[Path]:  # noqa: ARG001 - the protocol of stages
    """Nothing outside the store."""
    return ()


def run(job: Job) -> None:
    """Write the export, what describes it, and the tokenizer to ``job.out``; after a contest also its report.

    Raises:
        Refused: no candidate keeps to the limits.
    """
    if job.params.get("graph"):
        from guideway.pipeline.stages.compress.passed import pass_on

        pass_on(job)
        return
    if job.params.get("task") in ("classify", "embed"):
        _of_an_encoder(job)
        return
    if "prune" in job.params:
        from guideway.pipeline.stages.compress.contest import contest

        contest(job)
        return
    from guideway.pipeline.stages.compress.distance import measure_distance
    from guideway.pipeline.stages.compress.sizes import weights

    precision = job.params["precision"]
    job.progress(0, 10, f"exporting to {precision}")
    export(FORMATS[job.params["format"]], job.inputs["train"], job.out, precision, job.inputs["data"])
    before, after = weights(job.inputs["train"]), weights(job.out)
    job.measure("model_bytes", after, "bytes", about="out", source="train")
    job.fact(f"{precision}: {before / 1e6:.1f} MB to {after / 1e6:.1f} MB")
    measure_distance(job)


def _of_an_encoder(job: Job) -> None:
    if job.params["task"] == "classify":
        from guideway.pipeline.stages.classify.compress import compress
    else:
        from guideway.pipeline.stages.embed.compress import compress

    compress(job)
