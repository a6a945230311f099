"""Questions of a split, with the answers of the release and those that they are compared with."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from guideway.core.protocols import Job
from guideway.core.spec.judge import Judge
from guideway.pipeline.lent import SERVING
from guideway.pipeline.stages.classify.rows import sample_of
from guideway.pipeline.stages.evaluate.nearest import Nearest
from guideway.pipeline.stages.evaluate.speaker import Speaker, sealed, shipping
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.judge.verdicts import Pair

KNOWN = 50_000
"""Training rows that the baseline knows at the most."""

Row = Mapping[str, Any]


def pairs_of(job: Job, asked: Judge) -> list[Pair]:
    """A pair for each sampled conversation of the split."""
    path = job.inputs["data"] / f"{job.params['split']}.jsonl"
    rows = [row for row in sample_of(path, asked.examples) if "messages" in row] if path.is_file() else []
    if not rows:
        return []
    ours = shipping(job, asked.max_tokens)
    theirs = _others(job, asked, rows, ours)
    said = ours.answers([row["messages"][:-1] for row in rows])
    return [Pair(_question(row), own, other) for row, own, other in zip(rows, said, theirs, strict=True)]


def _others(job: Job, asked: Judge, rows: Sequence[Row], ours: Speaker) -> list[str]:
    if asked.against == "reference":
        return [row["messages"][-1]["content"] for row in rows]
    if asked.against == SERVING:
        return sealed(job.inputs[SERVING], asked.max_tokens).answers([row["messages"][:-1] for row in rows])
    known = [row for row in itertools.islice(rows_of(job.inputs["data"] / "train.jsonl"), KNOWN) if "messages" in row]
    nearest = Nearest([_prompt(ours, row) for row in known], [row["messages"][-1]["content"] for row in known])
    return [nearest.answer(_prompt(ours, row)) for row in rows]


def _prompt(speaker: Speaker, row: Row) -> list[int]:
    example = speaker.voice.example(row)
    return example.ids[: example.start]


def _question(row: Row) -> str:
    """The conversation up to the answer, as a judge reads it."""
    turns = row["messages"][:-1]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
