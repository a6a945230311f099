"""How large a model is: as it lies in its folder, and packed."""

from __future__ import annotations

import zlib
from pathlib import Path

CHUNK = 1 << 22
"""Bytes that are packed at once."""
WEIGHTS = (".safetensors", ".onnx", ".data", ".bin", ".gguf")


def weights(folder: Path) -> int:
    """Bytes of the files of weights in *folder*."""
    return sum(path.stat().st_size for path in _files(folder))


def packed(folder: Path) -> int:
    """Bytes of the same files after zlib: what zeros save on a disk or on a line."""
    total = 0
    for path in _files(folder):
        packer = zlib.compressobj(1)
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                total += len(packer.compress(chunk))
        total += len(packer.flush())
    return total


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in WEIGHTS]
