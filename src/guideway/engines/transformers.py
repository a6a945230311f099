"""The reference engine: the same server around transformers. Correct first."""

from __future__ import annotations

from pathlib import Path

from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.launching import launch


class TransformersEngine:
    """Serves a Hugging Face folder with safetensors."""

    name = "transformers"
    format = "safetensors"

    def launch(self, folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
        """The process that serves the release in *folder* on 127.0.0.1:*port*."""
        return launch("guideway.replica.serve_transformers", folder, settings, port=port, threads=threads)
