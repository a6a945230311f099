"""Tasks as they lie in a folder: read as plain YAML and held to what is data. Imports no lm-eval."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec.suites import Suite

FORMATS = ("csv", "json", "parquet", "text")
"""Forms of local data that need no program of their own."""
KEYS = frozenset({"task", "task_alias", "dataset_path", "dataset_name", "dataset_kwargs", "output_type", "repeats"}) | {
    *("training_split", "validation_split", "test_split", "fewshot_split", "num_fewshot", "fewshot_delimiter"),
    *("doc_to_text", "doc_to_target", "doc_to_choice", "description", "target_delimiter", "generation_kwargs"),
    *("metric_list", "filter_list", "metadata"),
}
METRICS = frozenset({"acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "f1", "mcc", "brier_score"}) | {
    *("perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte", "bleu", "chrf", "ter"),
}
"""Metrics of lm-eval itself: it looks for any other on the hub, where a metric is a program."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_INSIDE = re.compile(r"[^/:~\\][^:\\]*")
"""A path that begins at its folder: another one, or an address, is of no commit."""


class Task(NamedTuple):
    """One task: its name, what lm-eval is given, and the files that it was read from."""

    name: str
    config: dict[str, Any]
    files: tuple[Path, ...]


def tasks_of(suite: Suite, root: Path) -> list[Task]:
    """The tasks in the folder that *suite* names, by file name.

    Raises:
        SpecError: there is no such folder, or a task is broken, or is more than data.
    """
    folder = root / suite.tasks
    if not folder.is_dir():
        raise SpecError(
            f"there is no folder '{suite.tasks}'",
            where="evaluate.suites",
            try_this="put the YAML files of the tasks into a folder beside the spec, with their data",
        )
    found = [_task(path, root, suite) for path in sorted(folder.glob("*.y*ml"))]
    if not found:
        raise SpecError(f"there is no task in '{suite.tasks}'", where="evaluate.suites", try_this="add a YAML file")
    names = [task.name for task in found]
    twice = next((task for at, task in enumerate(found) if task.name in names[:at]), None)
    if twice:
        raise SpecError(f"there are two tasks called '{twice.name}'", where=str(twice.files[0].relative_to(root)))
    return found


def _task(path: Path, root: Path, suite: Suite) -> Task:
    where = path.relative_to(root).as_posix()
    config = _read(path, where)
    strange = sorted(set(map(str, config)) - KEYS)
    if strange:
        advice = did_you_mean(strange[0], KEYS)
        raise SpecError(f"a task here has no key '{strange[0]}'", where=where, try_this=advice)
    name = config.get("task")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError("a task has a name of letters, digits, '.', '_' and '-'", where=where, try_this="task: my-task")
    _check_metrics(config, where)
    files, data = _data(config, path.parent, root, suite, where)
    return Task(name, {**config, **data}, (path, *files))


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if "!function" in str(error):
            advice = "write it as templates of doc_to_text and doc_to_target, or prepare the data before"
            raise SpecError("a task that brings a program is not run", where=where, try_this=advice) from None
        first = str(error).splitlines()[0]
        raise SpecError(f"not the YAML of a task: {first}", where=where, try_this="mend the file") from None
    if not isinstance(plain, dict):
        raise SpecError("a task is a mapping of keys", where=where, try_this="task: my-task")
    return plain


def _check_metrics(config: Mapping[str, Any], where: str) -> None:
    for one in config.get("metric_list") or ():
        name = one.get("metric") if isinstance(one, dict) else None
        if name not in METRICS or one.get("hf_evaluate"):
            known = ", ".join(sorted(METRICS))
            raise SpecError(f"no metric '{name}' is computed here", where=where, try_this=f"one of {known}")


def _data(
    config: Mapping[str, Any], folder: Path, root: Path, suite: Suite, where: str
) -> tuple[list[Path], dict[str, Any]]:
    """The local files of the data, and the keys that name them by where they lie."""
    kwargs = dict(config.get("dataset_kwargs") or {})
    path = config.get("dataset_path")
    if path not in FORMATS:
        _check_hub(path, kwargs, suite, where)
        return [], {"dataset_kwargs": kwargs}
    if set(kwargs) - {"data_files", "field", "delimiter"} or "data_files" not in kwargs:
        advice = "dataset_kwargs: {data_files: {test: rows.jsonl}}, paths from the task's folder"
        raise SpecError("a task names its files under dataset_kwargs", where=where, try_this=advice)
    files = {split: [_file(one, folder, root, where) for one in some] for split, some in _splits(kwargs["data_files"])}
    placed = {split: [str(one) for one in some] for split, some in files.items()}
    return [one for some in files.values() for one in some], {"dataset_kwargs": kwargs | {"data_files": placed}}


def _splits(said: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """Splits and their files; files without a split are ``train``, as the library has it."""
    for split, files in said.items() if isinstance(said, dict) else (("train", said),):
        yield str(split), files if isinstance(files, list) else [files]


def _file(said: Any, folder: Path, root: Path, where: str) -> Path:
    path = (folder / str(said)).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        advice = "data lies in the folder of the spec, and is named from the task's folder"
        raise SpecError(f"there is no file '{said}' here", where=where, try_this=advice)
    return path


def _check_hub(path: Any, kwargs: Mapping[str, Any], suite: Suite, where: str) -> None:
    if not suite.hub:
        raise SpecError(
            f"'{path}' is no local data",
            where=where,
            try_this=f"dataset_path is one of {', '.join(FORMATS)}; or hub: true, and the commit of a data set",
        )
    pinned = _COMMIT.fullmatch(str(kwargs.get("revision", "")))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) or not pinned or set(kwargs) - {"revision", "data_files"}:
        advice = "dataset_path: OWNER/NAME and dataset_kwargs: {revision: the 40 digits of a commit}"
        raise SpecError("a data set of the hub is named with its commit", where=where, try_this=advice)
    for _, some in _splits(kwargs.get("data_files", [])):
        for one in some:
            if not _INSIDE.fullmatch(str(one)) or ".." in str(one).split("/"):
                advice = "the path of a file inside the data set"
                raise SpecError(f"'{one}' is no file of the data set", where=where, try_this=advice)
