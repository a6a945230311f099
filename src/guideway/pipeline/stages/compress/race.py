"""The race: all candidates answer the same prompts, round by round in turns: a busy machine is fair to all."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from guideway.core.errors import GuidewayError
from guideway.core.evidence import Interval
from guideway.pipeline.stages.compress.speed import Round, Task
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.intervals import LEVEL, RESAMPLES

ROUNDS, LEAST = 9, 5
PATIENCE = 300.0
"""Seconds after which no further round begins, if there were ``LEAST``."""
PROMPTS, MORE = 16, 24
"""Prompts of a round, and tokens of each answer after the first."""
SEED = 7


class Estimate(NamedTuple):
    """The median over rounds, and where it lies when rounds are drawn again."""

    value: float
    interval: Interval


class Speed(NamedTuple):
    """What the rounds of one candidate say. ``time`` is seconds per generated token, prompts included."""

    prefill: Estimate
    decode: Estimate
    time: Estimate
    each: tuple[float, ...]
    """The time per token in every round."""
    memory: int


class Load(NamedTuple):
    """What every round asks: token ids of prompts, and how many tokens each answer has after its first one."""

    prompts: list[list[int]]
    more: int

    @property
    def read(self) -> int:
        """Tokens of all prompts."""
        return sum(len(prompt) for prompt in self.prompts)

    @property
    def made(self) -> int:
        """Tokens of all answers."""
        return len(self.prompts) * (1 + self.more)


def load_of(examples: Iterable[Example], context: int) -> Load:
    """What is given in the first examples, or half of a text, with room for the answer in *context* tokens."""
    more = min(MORE, context // 2)
    halves = (one.ids[: one.start if one.start > 1 else max(1, len(one.ids) // 2)] for one in examples)
    return Load([given[-(context - more - 1) :] for given in itertools.islice(halves, PROMPTS)], more)


def race(folders: Sequence[Path], load: Load, threads: int, say: Callable[[int], None]) -> list[Speed]:
    """The speed of the export in each of *folders*; *say* is told how many rounds are over.

    Raises:
        GuidewayError: an export cannot be served.
    """
    rounds: list[list[Round]] = [[] for _ in folders]
    with contextlib.ExitStack() as stack:
        tasks = [Task(str(folder), threads, load.prompts, load.more) for folder in folders]
        runners = [stack.enter_context(_runner(task)) for task in tasks]
        for runner in runners:
            _ask(runner)  # what is loaded or made only once is no part of the race
        end = time.monotonic() + PATIENCE
        for number in range(ROUNDS):
            if number >= LEAST and time.monotonic() > end:
                break
            for runner, own in zip(runners, rounds, strict=True):
                own.append(_ask(runner))
            say(number + 1)
    return [_speed(own, load) for own in rounds]


def median(values: Sequence[float]) -> Estimate:
    """The median of *values*, with its bootstrap interval."""
    drawn = np.random.default_rng(SEED).choice(np.asarray(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(np.median(values)), Interval(float(low), float(high), LEVEL, "bootstrap"))


def gain(cheap: Sequence[float], exact: Sequence[float]) -> Estimate:
    """The share of time that *cheap* saves against *exact*, in pairs: both were measured in the same rounds."""
    return median([1 - one / other for one, other in zip(cheap, exact, strict=True)])


def _speed(rounds: Sequence[Round], load: Load) -> Speed:
    each = tuple(one.whole / 1e9 / load.made for one in rounds)
    after = len(load.prompts) * load.more
    return Speed(
        prefill=median([load.read * 1e9 / one.first for one in rounds]),
        decode=median([after * 1e9 / max(1, one.whole - one.first) for one in rounds]),
        time=median(each),
        each=each,
        memory=max(one.memory for one in rounds),
    )


@contextlib.contextmanager
def _runner(task: Task) -> Iterator[subprocess.Popen[bytes]]:
    """A process that plays rounds of *task*; it ends with its input, so with us too."""
    argv = [sys.executable, "-P", "-m", "guideway.pipeline.stages.compress.speed"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            _tell(process, msgspec.json.encode(task))
            yield process
        finally:
            process.kill()


def _ask(process: subprocess.Popen[bytes]) -> Round:
    _tell(process, b"")
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise GuidewayError(f"a candidate cannot be served: its process ended with status {process.wait()}")
    return msgspec.json.decode(line, type=Round)


def _tell(process: subprocess.Popen[bytes], line: bytes) -> None:
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):  # what it lacks shows when it does not answer
        process.stdin.write(line + b"\n")
        process.stdin.flush()
