"""The embedded engine: an ONNX export on our own model server, without torch."""

from __future__ import annotations

from pathlib import Path

from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.own import own_server

name = "onnx"
format = "onnx"


def launch(folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """The process that serves the release in *folder* on 127.0.0.1:*port*."""
    # Set before the interpreter starts, because libraries read them when they are imported.
    env = (("OPENBLAS_NUM_THREADS", "1"), ("ORT_DISABLE_TELEMETRY", "1"))
    module = "guideway.replica.serve_classifier" if settings.task == "classify" else "guideway.replica.serve_onnx"
    return own_server(module, folder, settings, port=port, threads=threads, env=env)
