"""Serve a safetensors release with the reference: ``python -m guideway.replica.serve_transformers --release DIR …``.

Importing this module loads the libraries, starts no thread and computes nothing, so it may be forked afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from guideway.replica.backend import Backend
from guideway.replica.serve import serve
from guideway.replica.torch_backend import TorchBackend


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit code."""
    return serve("guideway.replica.serve_transformers", argv, _open)


def _open(folder: Path, slots: int, threads: int, context: int | None) -> Backend:
    return TorchBackend(folder, slots=slots, threads=threads, context=context)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
