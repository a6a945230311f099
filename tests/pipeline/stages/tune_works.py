"""Work for a pool: a bowl whose lowest point is known, and what goes wrong in trainings."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec


class Asked(msgspec.Struct):
    """Parameters of a trial, where to note that it began, and when to wait until a file is gone."""

    parameters: dict
    notes: str = ""
    seed: int = 0
    held: str = ""


def bowl(asked: Asked, report):
    """Its loss is the distance to learning_rate 0.01 in decades; it falls as training goes on."""
    note(asked)
    wait(asked)
    rate = asked.parameters.get("learning_rate", 1e-2)
    import math

    low = abs(math.log10(rate) + 2)
    for point in range(1, 11):
        report(point, low + 1 / point)
    return [(low + 0.1, 1), (low + 0.1, 1)]


def unlucky(asked: Asked, report):
    """Dies in one way or another, by its batch; batch 4 is well."""
    note(asked)
    match asked.parameters["batch"]:
        case 1:
            os.kill(os.getpid(), 9)
        case 2:
            raise MemoryError
        case 3:
            raise ValueError("a bad thing\nmore")
        case 5:
            return [(float("nan"), 1)]
    report(1, 1.0)
    return [(1.0, 2)]


def note(asked: Asked) -> None:
    if asked.notes:
        with (Path(asked.notes)).open("a") as file:
            file.write(f"{sorted(asked.parameters.items())}\n")


def wait(asked: Asked) -> None:
    deadline = time.monotonic() + 60
    while asked.held and Path(asked.held).exists() and time.monotonic() < deadline:
        time.sleep(0.005)
