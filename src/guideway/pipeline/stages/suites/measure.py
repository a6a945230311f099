"""Run the suites and leave every metric of every task as evidence about what ships, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import msgspec

from guideway.core.protocols import Job
from guideway.core.spec.suites import Suite
from guideway.pipeline.stages.evaluate.speaker import shipping
from guideway.pipeline.stages.suites.harness import ANSWER, asked
from guideway.pipeline.stages.suites.report import Figure, write_report
from guideway.pipeline.stages.suites.spread import spread_of
from guideway.pipeline.stages.suites.tasks import tasks_of

OFTEN = 16
"""Requests between two words about progress."""


def measure(job: Job) -> None:
    """Leave ``suite_METRIC`` for every task (the slice), and write the reports."""
    suites = msgspec.convert(job.params["suites"], tuple[Suite, ...])
    speaker = shipping(job, ANSWER)
    found: list[Figure] = []
    for number, suite in enumerate(suites):
        tasks = tasks_of(suite, job.root)
        chat = suite.chat and job.params["task"] == "chat"
        results = asked(suite, tasks, speaker, chat=chat, say=_sayer(job, number, len(suites), suite.tasks))
        found += _figures(results, [task.name for task in tasks], job.params["seed"])
    for one in found:
        job.measure(
            f"suite_{one.metric}",
            one.value,
            "",
            about=job.params["ships"],
            n=one.n,
            interval=one.interval,
            slice=one.task,
        )
        job.fact(one.told)
    write_report(job.out, job.params["ships"], found)


def _figures(results: Any, names: Sequence[str], seed: int) -> Iterator[Figure]:
    for name in names:
        values, samples = results["results"][name], results["samples"][name]
        for key, value in sorted(values.items()):
            metric, comma, sieve = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            each = [one[metric] for one in samples if one["filter"] == sieve and metric in one]
            stderr = values.get(f"{metric}_stderr,{sieve}")
            better = results["higher_is_better"].get(name, {}).get(metric)
            task = name if sieve == "none" else f"{name}/{sieve}"
            yield Figure(task, metric, float(value), len(each), spread_of(float(value), each, stderr, seed), better)


def _sayer(job: Job, number: int, suites: int, name: str) -> Callable[[], None]:
    """What says, every few requests, that the work goes on; how many there will be lm-eval does not tell before."""
    asked = count(1)

    def say() -> None:
        done = next(asked)
        if done % OFTEN == 0:
            job.progress(number, suites, f"{name}: {done} requests")

    return say
