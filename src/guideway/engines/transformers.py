"""The reference engine: a safetensors folder run by transformers on our own model server."""

from __future__ import annotations

from pathlib import Path

from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.own import own_server

name = "transformers"
format = "safetensors"


def launch(folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """The process that serves the release in *folder* on 127.0.0.1:*port*."""
    env = (
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_HUB_OFFLINE", "1"),
        ("OMP_NUM_THREADS", str(threads)),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
    )
    return own_server("guideway.replica.serve_transformers", folder, settings, port=port, threads=threads, env=env)
