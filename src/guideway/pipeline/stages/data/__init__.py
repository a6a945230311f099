"""Data: read the sources, clean, deduplicate, split by group, and say in a manifest what came of it."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import SpecError
from guideway.core.protocols import Job
from guideway.core.spec import Data, Spec, is_import
from guideway.pipeline.stages.data.glance import rowless, useless
from guideway.pipeline.stages.data.read import format_of
from guideway.pipeline.stages.data.sort import Found, sort_rows
from guideway.pipeline.stages.data.split import check_splits
from guideway.pipeline.stages.data.verdict import check, report

name = "data"
needs: tuple[str, ...] = ()
libraries: tuple[str, ...] = ()


def params(spec: Spec) -> Mapping[str, Any]:
    """The whole of ``data`` but the weights, which training heeds; and the task, which says what a row looks like.

    Where the model is imported, nothing here is what it was trained on.
    """
    plain: dict[str, Any] = msgspec.to_builtins(spec.data)
    for source in plain["sources"]:
        del source["weight"]
    return plain | {"task": spec.task} | ({"imported": True} if is_import(spec) else {})


def sources(spec: Spec, root: Path) -> Sequence[Path]:
    """Every file of every source, in order, each once.

    Raises:
        SpecError: a source matches no file or has an unknown format, or a split says nothing or two things.
    """
    check_splits(spec.data.splits)
    return tuple(dict.fromkeys(found.path for found in _found(spec.data, root)))


def foreseen(spec: Spec, root: Path) -> tuple[str, int] | None:
    """Why stage data would refuse what there is to read, and the number of the source; None: for neither of these.

    A file has no row, or no row of all files can be used. Everything is read only where the second is so.

    Raises:
        SpecError: a source matches no file or has an unknown format.
    """
    files = _found(spec.data, root)
    if empty := rowless(files):
        return f"there are no rows in {empty.shown}", empty.number
    why = useless(files, spec.data, spec.task)
    return (why, files[0].number) if why else None


def run(job: Job) -> None:
    """Write ``train.jsonl``, one file per split, ``rejected.jsonl`` and ``manifest.json`` to ``job.out``."""
    plain = dict(job.params)
    task, imported = plain.pop("task"), plain.pop("imported", False)
    data = msgspec.convert(plain, Data)
    check_splits(data.splits)
    tally = sort_rows(job, data, task, _found(data, job.root), imported=imported)
    check(tally)
    report(job, tally)


def _found(data: Data, root: Path) -> list[Found]:
    """The files of every source, sorted by name within a source."""
    found: dict[Path, Found] = {}
    for number, source in enumerate(data.sources):
        paths = sorted(Path(path) for path in glob.glob(str(root / source.path), recursive=True))  # noqa: PTH207 - absolute ones too
        files = [path for path in paths if path.is_file()]
        if not files:
            raise SpecError(
                f"no file matches '{source.path}'",
                where=str(root),
                try_this="mend data.sources: paths start at the folder of guideway.yaml",
            )
        for path in files:
            shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            found.setdefault(path, Found(path, shown, format_of(path, source.format), source, number))
    return list(found.values())
