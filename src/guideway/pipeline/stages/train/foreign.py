"""Which files an import reads: those of a folder, or one file and what its labels are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from guideway.core.errors import Corrupt, SpecError
from guideway.core.spec import Imported, Spec, is_graph
from guideway.pipeline.stages.train.base import files_of

LLAMA2C, GRAPH = ".bin", ".onnx"


def files_to_import(spec: Spec, root: Path) -> Sequence[Path]:
    """The files that importing the base of *spec*, which lies in *root*, reads.

    Raises:
        SpecError: one is missing, or the base is of no kind that can be imported for this task.
    """
    said = str(spec.train.base)
    path = root / said
    _check_kind(path, said, graph=is_graph(spec))
    if path.is_dir():
        return files_of(path, said)
    labels = (spec.train.imported or Imported()).labels_from.partition("#")[0]
    if labels and not (root / labels).is_file():
        raise SpecError(f"there is no file '{labels}'", where="train.imported.labels_from", try_this="mend the path")
    return (path, root / labels) if labels else (path,)


def check_digest(path: Path, wanted: str | None) -> str:
    """The digest of the file at *path*.

    Raises:
        Corrupt: it is not the *wanted* one.
    """
    with path.open("rb") as file:
        found = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    if wanted not in (None, found):
        raise Corrupt(
            f"this is not the file that the spec means: its digest is {found}",
            where=path.name,
            try_this="fetch it again, or mend train.imported.digest",
        )
    return found


def _check_kind(path: Path, said: str, *, graph: bool) -> None:
    if not path.exists():
        raise SpecError(f"there is no file or folder '{said}'", where="train.base", try_this="mend train.base")
    if graph and path.suffix != GRAPH:
        raise SpecError("a classifier is imported as an ONNX graph", where=said, try_this="base: FILE.onnx")
    if not graph and path.is_file() and path.suffix != LLAMA2C:
        raise SpecError(
            "this is no file that a language model is imported from",
            where=said,
            try_this="a Hugging Face folder with safetensors, or FILE.bin in the format of llama2.c",
        )
