"""Checkpoints of one training: each is one safetensors file whose name holds its digest. Whole, or not there."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from guideway.kit.files import make_folder, sync_folder

KEPT = 2
"""A checkpoint is removed when so many newer ones are there: if one is damaged, the one before serves."""
_NAME = re.compile(r"step-(\d{9})\.([0-9a-f]{64})\.safetensors")


class Checkpoint(NamedTuple):
    """The state of a training after ``step``: its tensors, and the rest as text."""

    step: int
    tensors: dict[str, torch.Tensor]
    state: str


class Checkpoints:
    """The checkpoints in *folder*, which belongs to this training alone. It is made when the first one is saved."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[str] = []

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: str) -> None:
        """Write one more, durably.

        Raises:
            OSError: the disk is full or broken. What was saved before is still there, and nothing half-written.
        """
        make_folder(self.folder)
        part = self.folder / f".part-{os.getpid()}"
        try:
            _write(part, tensors, state)
            part.replace(self.folder / f"step-{step:09d}.{_digest(part)}.safetensors")
        finally:
            part.unlink(missing_ok=True)
        sync_folder(self.folder)
        self.thin()

    def thin(self) -> None:
        """Remove all but the newest."""
        for old in self._all()[KEPT:]:
            old.unlink()

    def newest(self) -> Checkpoint | None:
        """The newest one that is whole; what is damaged is noted and removed, and what is half-written is removed."""
        for part in self.folder.glob(".part-*"):
            part.unlink(missing_ok=True)
        for path in self._all():
            found = _read(path)
            if found:
                return found
            if path.exists():  # else its writer, who is just being killed, removed it
                self.damaged.append(path.name.partition(".")[0])
            path.unlink(missing_ok=True)
        return None

    def newest_file(self) -> Path | None:
        """Where the newest one lies that is whole."""
        return next((path for path in self._all() if _whole(path)), None)

    def _all(self) -> list[Path]:
        """Newest first."""
        found = [path for path in self.folder.glob("step-*") if _NAME.fullmatch(path.name)]
        return sorted(found, reverse=True)


def _write(path: Path, tensors: Mapping[str, torch.Tensor], state: str) -> None:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(whole, path, metadata={"state": state})
    except SafetensorError as error:  # the library hides the number of the error in its text
        raise OSError(f"the checkpoint cannot be written: {error}") from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read(path: Path) -> Checkpoint | None:
    """The checkpoint in *path*; None if it is damaged, or was removed by a writer that is just being killed."""
    if not _whole(path):
        return None
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        return Checkpoint(_parts(path)[0], tensors, file.metadata()["state"])


def _whole(path: Path) -> bool:
    return path.exists() and _digest(path) == _parts(path)[1]


def _parts(path: Path) -> tuple[int, str]:
    """The step and the digest in the name of a checkpoint."""
    name = _NAME.fullmatch(path.name)
    assert name
    return int(name[1]), name[2]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
