"""Both releases on the same rows of every split, and the differences as evidence about what ships."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from guideway.core.protocols import Job
from guideway.pipeline.lent import SERVING
from guideway.pipeline.stages.against.classes import compare_classes
from guideway.pipeline.stages.against.report import Compared, write_report
from guideway.pipeline.stages.against.texts import compare_texts
from guideway.pipeline.stages.classify.rows import sample_of
from guideway.pipeline.stages.evaluate.speaker import sealed, shipping
from guideway.pipeline.stages.evaluate.splits import split_names

Rows = Sequence[Mapping[str, Any]]


def measure(job: Job) -> None:
    """Leave what the new release gains over the other, with paired intervals."""
    found = [one for some in _compared(job) for one in some]
    for each in found:
        job.measure(
            each.metric,
            each.value,
            each.unit,
            about=job.params["ships"],
            n=each.n,
            interval=each.interval,
            slice=each.split,
        )
        job.fact(each.told)
    write_report(job.out, found)


def _compared(job: Job) -> Iterator[list[Compared]]:
    """The figures of each split that has rows."""
    data, examples = job.inputs["data"], job.params["examples"]
    compare, names = _comparison(job), split_names(data)
    for number, name in enumerate(names):
        job.progress(number, len(names), name)
        rows = sample_of(data / f"{name}.jsonl", examples)
        if rows:
            yield compare(name, rows)


def _comparison(job: Job) -> Callable[[str, Rows], list[Compared]]:
    """What compares both releases on the rows of a split."""
    seed, other = job.params["seed"], job.inputs[SERVING]
    if job.params["task"] == "classify":
        return lambda name, rows: compare_classes(name, rows, job.inputs["compress"], other / "model", seed)
    most = job.params["max_tokens"]
    ours, theirs = shipping(job, most), sealed(other, most)
    return lambda name, rows: compare_texts(name, rows, ours, theirs, seed)
