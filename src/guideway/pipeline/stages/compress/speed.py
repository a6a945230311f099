"""How fast one export answers, in a process of its own: ``python -m guideway.pipeline.stages.compress.speed``.

It reads one task as a line of JSON, then answers every further line with one round; it ends with its input. The
model runs in what serves it, without torch, so the memory is what a replica needs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from guideway.pipeline.stages.formats import Scorer, open_scorer

ENOUGH = 60_000_000
"""Nanoseconds for which answers are repeated: a shorter time says more of the machine than of the model."""


class Task(msgspec.Struct, frozen=True):
    """What is answered: token ids of *prompts*, each with ``1 + more`` tokens, by *threads* threads."""

    folder: str
    threads: int
    prompts: list[list[int]]
    more: int


class Round(msgspec.Struct, frozen=True):
    """One round: nanoseconds until every prompt had its first token, and until every answer was whole.

    Of a small model both are the shortest of several: whatever else runs on the machine only ever adds. ``memory`` is
    the most that the process held up to then, in bytes.
    """

    first: int
    whole: int
    memory: int


def play(scorer: Scorer, task: Task) -> Round:
    """Answer every prompt with one token, which costs the prompts alone, and with all; the shortest of each."""
    first, whole = (_shortest(scorer, task.prompts, tokens) for tokens in (1, 1 + task.more))
    return Round(first, whole, _peak(getattr(scorer, "pid", "self")))


def _shortest(scorer: Scorer, prompts: Sequence[Sequence[int]], tokens: int) -> int:
    spent: list[int] = []
    while sum(spent) < ENOUGH:
        began = time.perf_counter_ns()
        scorer.generate_all(prompts, tokens, ())
        spent.append(time.perf_counter_ns() - began)
    return min(spent)


def _peak(process: int | str) -> int:
    """The most memory that *process* ever held, in bytes; of this program alone, whoever started it."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Serve rounds until the input ends."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    scorer = open_scorer(Path(task.folder), task.threads)
    for _ in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(play(scorer, task)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
