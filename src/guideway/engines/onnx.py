"""The embedded engine: an ONNX export on our own model server, without torch."""

from __future__ import annotations

from pathlib import Path

from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.own import own_server

name = "onnx"
format = "onnx"
_SERVERS = {"classify": "serve_classifier", "embed": "serve_embedder"}


def launch(folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """The process that serves the release in *folder* on 127.0.0.1:*port*."""
    # Set before the interpreter starts, because libraries read them when they are imported.
    env = (("OPENBLAS_NUM_THREADS", "1"), ("ORT_DISABLE_TELEMETRY", "1"))
    return own_server(
        f"guideway.replica.{_SERVERS.get(settings.task, 'serve_onnx')}",
        folder,
        settings,
        port=port,
        threads=threads,
        env=env,
    )
