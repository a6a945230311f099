"""Replay real traces through a simulated service: do requests wait little, and at what capacity?

`make bench-autoscale` calls it; GUIDEWAY_TEST_DATA names the folder with the traces. The objective: a request is in
time if it gets a place at a replica within a second. Each scaler is scored after a warm-up, the first ten minutes of
the trace seven times. The smallest capacity is that of somebody who knows the whole trace (`oracle.py`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.rollout.autoscale_rig import Job, Order, Replay, Scaler, Service, ours, planned, read_trace

from benchmarks.knative import TICK, Knative
from benchmarks.oracle import Goal, busy, smallest
from benchmarks.plot import Line, draw
from benchmarks.record import Figure, write
from guideway.rollout.autoscale import Rules

WARM, TIMES = 600.0, 7
SHARE, DEARER, CHANGES = 0.99, 1.3, 6
PLOT = Path(__file__).parents[1] / "docs" / "autoscale.svg"
FILES = {
    "conv": "azure-llm-trace-2023/AzureLLMInferenceTrace_conv.csv",
    "code": "azure-llm-trace-2023/AzureLLMInferenceTrace_code.csv",
    "mooncake": "mooncake-trace/conversation_trace.jsonl",
}
"""The rules and their defaults were made with the first two in view; the third has to reach nothing."""


class Case(NamedTuple):
    """A trace and what it is served with; ``queue`` in seconds."""

    trace: str
    service: Service = Service()
    queue: float = 1.0

    def __str__(self) -> str:
        service = self.service
        return f"{self.trace}, {service.places} places, start {service.cold_start:g} s, queue {self.queue:g} s"


VARIANTS = (
    Case("conv", Service(places=4)),
    Case("conv", Service(places=16)),
    Case("conv", Service(cold_start=10.0)),
    Case("conv", Service(cold_start=180.0)),
    Case("conv", queue=5.0),
)


class Scored(NamedTuple):
    """What is said of a replay without its warm-up: share in time, replica-seconds, changes, orders."""

    share: float
    capacity: float
    changes: int
    orders: Sequence[Order]


def main() -> None:
    """Replay every trace that there is, draw the first, and write the results."""
    folder = os.environ.get("GUIDEWAY_TEST_DATA")
    if not folder:
        raise SystemExit("GUIDEWAY_TEST_DATA must name the folder with the traces")
    figures: list[Figure] = []
    for trace, file in FILES.items():
        path = Path(folder) / file
        if path.is_file():
            print(f"{trace} …", flush=True)
            figures += _trace(Case(trace), path)
        else:
            print(f"{path} is not there: left out", flush=True)
    path = Path(folder) / FILES["conv"]
    for case in VARIANTS:
        print(f"{case} …", flush=True)
        figures += _variant(case, path)
    print()
    write("autoscale", figures)


def _trace(case: Case, path: Path) -> Iterator[Figure]:
    """All about one trace: ours, the peer, and what knowing the future would save."""
    jobs = _jobs(case, path)
    held = case.trace != "mooncake"
    limited = smallest(jobs, case.service, Goal(case.queue, SHARE, CHANGES))
    free = smallest(jobs, case.service, Goal(case.queue, SHARE, None))
    mine = _scored(jobs, case, ours(_rules(case), first=1), 5.0)
    peer = _scored(jobs, case, Knative(case.service.places), TICK)
    cold = Replay(jobs, case.service, ours(_rules(case), first=1), 1).run()
    least, freely = limited[1].capacity, free[1].capacity
    floor = busy(jobs, case.service, SHARE)
    about = f"{len(jobs)} requests, {jobs[-1].at / 3600:.2f} h"
    must = (SHARE, DEARER, float(CHANGES)) if held else (None, None, None)
    yield Figure(f"{case.trace}: in time", mine.share * 100, "%", must[0] and must[0] * 100, note=about, larger=True)
    note = f"{mine.capacity:.0f} against {least:.0f} replica-seconds, {len(limited[0]) - 1} changes"
    yield Figure(
        f"{case.trace}: capacity against the smallest that could", mine.capacity / least, "x", must[1], note=note
    )
    yield Figure(f"{case.trace}: changes", mine.changes, "", must[2], note=_told(mine.orders))
    note = f"{freely:.0f} replica-seconds, {len(free[0]) - 1} changes"
    yield Figure(f"{case.trace}: capacity against the smallest, any changes", mine.capacity / freely, "x", note=note)
    yield Figure(f"{case.trace}: smallest that could, against the work", least / floor, "x")
    yield Figure(f"{case.trace}: in time, begun cold with one replica", cold.within(case.queue) * 100, "%")
    yield Figure(f"{case.trace}: in time, Knative", peer.share * 100, "%", peer="Knative")
    yield Figure(f"{case.trace}: capacity, Knative", peer.capacity / least, "x", peer="Knative")
    yield Figure(f"{case.trace}: changes, Knative", peer.changes, "", peer="Knative")
    if case.trace == "conv":
        PLOT.write_text(_plot(jobs, case, [mine.orders, limited[0], peer.orders]), encoding="utf-8")


def _variant(case: Case, path: Path) -> Iterator[Figure]:
    """The same with another service: is it only this one that fits?"""
    jobs = _jobs(case, path)
    least = smallest(jobs, case.service, Goal(case.queue, SHARE, CHANGES))[1].capacity
    mine = _scored(jobs, case, ours(_rules(case), first=1), 5.0)
    note = f"{mine.share:.2%} in time, {mine.changes} changes"
    yield Figure(f"{case}: capacity", mine.capacity / least, "x", note=note)


def _rules(case: Case) -> Rules:
    return Rules(max=64, places=case.service.places, queue=case.queue)


def _jobs(case: Case, path: Path) -> list[Job]:
    if path.suffix == ".csv":
        return read_trace(path, case.service)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    tokens = case.service
    return [
        Job(row["timestamp"] / 1e3, row["input_length"] * tokens.token_in + row["output_length"] * tokens.token_out)
        for row in rows
    ]


def _scored(jobs: Sequence[Job], case: Case, scaler: Scaler, tick: float) -> Scored:
    """Replay *jobs* after the warm-up; what happens in the warm-up is not scored."""
    begins = WARM * TIMES
    again = [Job(job.at + WARM * turn, job.takes) for turn in range(TIMES) for job in jobs if job.at < WARM]
    replay = [*again, *(Job(job.at + begins, job.takes) for job in jobs)]
    whole = Replay(replay, case.service, scaler, 1, tick).run()
    waits = whole.waits[len(again) :]
    share = sum(wait <= case.queue for wait in waits) / len(waits)
    before = Replay(replay, case.service, planned(whole.orders), 1, tick).run(until=begins).capacity
    orders = [Order(0.0, [one.replicas for one in whole.orders if one.at < begins][-1])]
    orders += [Order(one.at - begins, one.replicas) for one in whole.orders if one.at >= begins]
    return Scored(share, whole.capacity - before, len(orders) - 1, orders)


def _told(orders: Sequence[Order]) -> str:
    return ", ".join(f"{one.replicas} from {one.at / 60:.0f} min" for one in orders)


def _plot(jobs: Sequence[Job], case: Case, plans: Sequence[Sequence[Order]]) -> str:
    """Load and places over time, in minutes."""
    over, step = jobs[-1].at, 20.0
    load = [0.0] * (int(over // step) + 1)
    for job in jobs:  # if nobody waited
        at, end = job.at, min(job.at + job.takes, over)
        while at < end:
            upto = min(end, (at // step + 1) * step)
            load[int(at // step)] += (upto - at) / step
            at = upto
    lines = [Line("load, if nobody waited", "#94a3b8", [(i * step / 60, y) for i, y in enumerate(load)])]
    names = (("Guideway: places", "#0d9488"), ("who knows the future", "#1d4ed8"), ("Knative, defaults", "#dc2626"))
    for (name, colour), plan in zip(names, plans, strict=True):
        points = [(one.at / 60, float(one.replicas * case.service.places)) for one in plan]
        lines.append(Line(name, colour, [*points, (over / 60, points[-1][1])], steps=True))
    title = "Load of the conversation trace, and places that were ordered for it"
    return draw(lines, title=title, x_name="minutes", y_name="requests", x_step=10.0, y_step=20.0)


if __name__ == "__main__":
    main()
