"""Modules beside its own on which the result of a stage depends, where several stages depend on the same ones."""

from __future__ import annotations

READING = (
    "guideway.pipeline.stages.data.clean",
    "guideway.pipeline.stages.evaluate.splits",
    "guideway.pipeline.stages.examples",
    "guideway.pipeline.stages.intervals",
    "guideway.pipeline.stages.threads",
    "guideway.replica.chat",
    "guideway.replica.classifier",
    "guideway.replica.embedder",
    "guideway.replica.meaning",
    "guideway.replica.octets",
    "guideway.replica.session",
    "guideway.replica.settings",
    "guideway.replica.text",
)
"""How rows become what a model reads: of whoever trains one, and of whoever asks one."""

SERVING = (
    *READING,
    "guideway.engines.llamacpp",
    "guideway.pipeline.stages.formats",
    "guideway.pipeline.stages.models",
    "guideway.pipeline.stages.reporting",
    "guideway.replica.backend",
    "guideway.replica.memory",
    "guideway.replica.onnx_backend",
    "guideway.replica.openvino_backend",
    "guideway.replica.scheduler",
    "guideway.replica.score",
)
"""How a model that was exported answers, and is told of in a report."""
