"""Serve an OpenVINO release: ``python -m guideway.replica.serve_openvino --release DIR --port N``.

Importing this module loads the libraries, starts no thread and computes nothing, so it may be forked afterwards.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from guideway.replica.backend import Backend
from guideway.replica.openvino_backend import OpenVinoBackend
from guideway.replica.serve import serve

with contextlib.suppress(ImportError):  # what is missing is told when the model is opened
    import openvino as _warm  # noqa: F401 - loaded once before a fork, not after


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    return serve("guideway.replica.serve_openvino", argv, _open)


def _open(folder: Path, slots: int, threads: int, context: int | None) -> Backend:
    return OpenVinoBackend(folder, slots=slots, threads=threads, context=context)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
