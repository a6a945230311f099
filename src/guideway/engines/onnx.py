"""The embedded engine: our own server on plain onnxruntime."""

from __future__ import annotations

from pathlib import Path

from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.launching import launch


class OnnxEngine:
    """Serves an export of the ONNX Runtime GenAI builder; needs no torch."""

    name = "onnx"
    format = "onnx"

    def launch(self, folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
        """The process that serves the release in *folder* on 127.0.0.1:*port*."""
        return launch("guideway.replica.serve_onnx", folder, settings, port=port, threads=threads)
