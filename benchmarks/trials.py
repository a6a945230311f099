"""Trials for the benchmark of tuning: apart from it, because their processes import the module that they are in."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from guideway.pipeline.stages.train.loop import Loop
from guideway.pipeline.stages.tune.pool import Report
from guideway.pipeline.stages.tune.trial import Asked, trained


def timed(asked: Asked, report: Report) -> Any:
    """A trial that notes how long it was in the loop of training, and there in validations."""
    run, validated, spent = Loop.run, Loop._validated, {"run": 0.0, "validate": 0.0}

    def clocked(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def inner(loop: Loop) -> Any:
            began = time.perf_counter()
            found = work(loop)
            spent[name] += time.perf_counter() - began
            return found

        return inner

    Loop.run = clocked("run", run)  # type: ignore[method-assign]
    Loop._validated = clocked("validate", validated)  # type: ignore[method-assign]
    found = trained(asked, report)
    (asked.work / f"{os.getpid()}.json").write_bytes(msgspec.json.encode(spent))
    return found


def nothing(_asked: Asked, report: Report) -> Any:
    """A trial that only reports."""
    for point in range(1, 11):
        report(point, 1.0)
    return [(1.0, 1)]
