"""Loads on a side, and what came of them with the processor time that it took."""

from __future__ import annotations

import itertools
import json
import subprocess
import sysconfig
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.record import quietly
from benchmarks.traffic.machine import processor_seconds
from benchmarks.traffic.sides import Side

HERE = Path(__file__).parent
_numbers = itertools.count(1)


class Run(NamedTuple):
    """What came of one load: ``answers`` with status 200, or events; ``worker`` and ``beside`` in processor seconds."""

    seconds: float
    answers: int
    p50: float
    worker: float
    beside: float
    said: dict[str, Any]

    @property
    def rate(self) -> float:
        """Answers, or events, in a second."""
        return self.answers / self.seconds

    @property
    def worker_us(self) -> float:
        """Processor time that each cost in the processes it passed through, in microseconds."""
        return self.worker / max(1, self.answers) * 1e6

    @property
    def beside_us(self) -> float:
        """The same of the processes beside."""
        return self.beside / max(1, self.answers) * 1e6


def build(folder: Path) -> Path:
    """Compile the programs; *folder* has ``upstream`` and ``load`` afterwards."""
    compiler = (sysconfig.get_config_var("CC") or "gcc").split()[0]
    for name in ("upstream", "load"):
        quietly([compiler, "-O2", "-Wall", "-o", str(folder / name), str(HERE / f"{name}.c")], folder)
    return folder


def unary(side: Side, connections: int, seconds: float) -> Run:
    """Completions by wrk. Any answer but 200 ends the benchmark: a refusal is cheap and would look like speed."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    argv += ["-s", str(HERE / "prompts.lua"), f"http://127.0.0.1:{side.port}/", "--", side.key, _seed()]
    said, worker, beside = _during(side, argv)
    if said["refused"] or said["broken"]:
        raise SystemExit(f"{side.name}: {said['refused']} refused, {said['broken']} broken, which none should be")
    return Run(said["seconds"], said["answers"], said["p50_ms"], worker, beside, said)


def streams(side: Side, programs: Path, connections: int, seconds: float) -> Run:
    """Streams, one after the other on every connection; ``answers`` are events."""
    said, worker, beside = _load(side, programs, connections, seconds, 0, stream=True)
    if said["cut"] or said["other"] or said["busy"]:
        raise SystemExit(f"{side.name}: streams broke or were refused: {said}")
    return Run(said["seconds"], said["events"], said["p50_ms"], worker, beside, said)


def closed(side: Side, programs: Path, connections: int, seconds: float) -> Run:
    """Completions, one after the other on every connection."""
    said, worker, beside = _load(side, programs, connections, seconds, 0, stream=False)
    return Run(said["seconds"], said["good"], said["p50_ms"], worker, beside, said)


def arriving(side: Side, programs: Path, connections: int, seconds: float, rate: float) -> Run:
    """Completions that come *rate* a second, whatever becomes of those before."""
    said, worker, beside = _load(side, programs, connections, seconds, rate, stream=False)
    return Run(said["seconds"], said["good"], said["p50_ms"], worker, beside, said)


def _load(side: Side, programs: Path, connections: int, seconds: float, rate: float, *, stream: bool) -> Any:
    argv = [str(programs / "load"), str(side.port), side.key, str(connections), str(seconds), f"{rate:.1f}"]
    return _during(side, [*argv, str(int(stream)), _seed()])


def _during(side: Side, argv: list[str]) -> tuple[dict[str, Any], float, float]:
    """What the load said, and the processor seconds of the side meanwhile."""
    workers, others = side.workers, side.beside
    before = processor_seconds(workers), processor_seconds(others)
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    after = processor_seconds(workers), processor_seconds(others)
    if done.returncode != 0:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}: {done.stderr[-500:]}")
    said = json.loads(done.stdout.strip().splitlines()[-1])
    return said, after[0] - before[0], after[1] - before[1]


def _seed() -> str:
    """Of a fixed width, and never twice."""
    return f"{next(_numbers):06d}"
