"""Serve an ONNX release: ``python -m guideway.replica.serve_onnx --release DIR --port N``.

Importing this module loads the libraries, starts no thread and computes nothing, so it may be forked afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from guideway.replica.backend import Backend
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.serve import serve


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    return serve("guideway.replica.serve_onnx", argv, _open)


def _open(folder: Path, slots: int, threads: int, context: int | None) -> Backend:
    return OnnxBackend(folder, slots=slots, threads=threads, context=context)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
