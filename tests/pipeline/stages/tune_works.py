"""Work for a search: a bowl whose lowest point is known, and what goes wrong in trainings."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from guideway.pipeline.stages.tune.pool import Died, Done, Reported


class Asked(msgspec.Struct):
    """Parameters of a trial and its seed; a file to note them in; a file that is waited for until it is gone."""

    parameters: dict[str, Any]
    seed: int = 0
    notes: str = ""
    gate: str = ""


def bowl(asked: Asked, report):
    """Its loss is the distance of learning_rate to 0.01, in decades; it falls as training goes on."""
    note(asked)
    low = abs(math.log10(asked.parameters.get("learning_rate", 1e-2)) + 2)
    report(1, low + 1)
    wait_while(asked.gate)
    for point in range(2, 11):
        report(point, low + 1 / point)
    return [(low, 1), (3 * low, 3)]


def unlucky(asked: Asked, report):
    """Dies in one way or another, by its batch; batch 4 is well."""
    match asked.parameters["batch"]:
        case 1:
            os.kill(os.getpid(), 9)
        case 2:
            raise MemoryError
        case 3:
            raise ValueError("a bad thing\nmore")
        case 5:
            return [(math.nan, 1)]
    report(1, 1.0)
    return [(1.0, 2)]


def cores(asked: Asked, report):
    """Where it may run, and how gladly it dies."""
    wait_while(asked.gate)
    score = Path("/proc/self/oom_score_adj").read_text(encoding="ascii")
    return sorted(os.sched_getaffinity(0)), int(score)


def note(asked: Asked) -> None:
    if asked.notes:
        with Path(asked.notes).open("a") as file:
            file.write(f"{os.getpid()} {sorted(asked.parameters.items())}\n")


def wait_while(gate: str) -> None:
    deadline = time.monotonic() + 60
    while gate and Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.005)


class Inline:
    """A pool without processes: all that a piece of work says is heard in turn with what the others say."""

    def __init__(self, work, size: int = 1) -> None:
        self._work, self._size = work, size
        self._said: dict[int, deque] = {}
        self.started: list[Any] = []

    @property
    def busy(self) -> int:
        return len(self._said)

    @property
    def free(self) -> bool:
        return self.busy < self._size

    def start(self, number, asked):
        self.started.append(asked)
        said: deque = deque()
        try:
            said.append(Done(self._work(asked, lambda point, loss: said.append(Reported(point, loss)))))
        except Exception as error:
            said.append(Died(str(error)))
        self._said[number] = said

    def hear(self):
        number = max(self._said, key=lambda one: (len(self._said[one]), -one))
        said = self._said[number].popleft()
        if not isinstance(said, Reported):
            self.stop(number)
        return number, said

    def stop(self, number):
        self._said.pop(number)

    def close(self):
        self._said.clear()
