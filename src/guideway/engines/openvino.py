"""OpenVINO on our own model server: an export to its IR, without torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from guideway.core.errors import SpecError
from guideway.core.launch import Launch
from guideway.core.release import ServeSettings
from guideway.engines.own import own_server

name = "openvino"
format = "openvino"


def launch(folder: Path, settings: ServeSettings, *, port: int, threads: int) -> Launch:
    """The process that serves the release in *folder* on 127.0.0.1:*port*."""
    # Set before the interpreter starts, because libraries read them when they are imported.
    env = (("DO_NOT_TRACK", "1"), ("OPENBLAS_NUM_THREADS", "1"))
    return own_server("guideway.replica.serve_openvino", folder, settings, port=port, threads=threads, env=env)


def installed() -> None:
    """Is what this engine needs on this machine?

    Raises:
        SpecError: it is not.
    """
    if find_spec("openvino") is None:
        raise SpecError(
            "the engine openvino needs OpenVINO, which is not installed", try_this="pip install 'guideway[openvino]'"
        )
