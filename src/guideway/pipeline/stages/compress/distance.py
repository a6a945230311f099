"""How far the compressed model moved from the trained one, on text that neither has seen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from guideway.core.protocols import Job
from guideway.pipeline.stages.examples import Example, Voice, rows_of
from guideway.pipeline.stages.intervals import bootstrap, wilson
from guideway.pipeline.stages.models import Compressed, Model, Trained, log_softmax

POSITIONS = 2000
SEED = 7
SAY_EVERY = 20
"""Rows between two words of progress."""


class Distance(NamedTuple):
    """What one row shows: the sum of the divergence in nats, changed first choices, and positions looked at.

    ``largest`` is the largest difference between the two probabilities of any token at any position.
    """

    divergence: float
    flips: int
    positions: int
    largest: float


def measure_distance(job: Job) -> None:
    """Measure the divergence and the changed first choices of ``out`` against ``train``."""
    trained, compressed = Trained(job.inputs["train"]), Compressed(job.out)
    voice = Voice(job.inputs["train"])
    found: list[Distance] = []
    seen = 0
    for example in _held_out(job.inputs["data"], voice, trained.context):
        found.append(distance(trained, compressed, example, POSITIONS - seen))
        seen += found[-1].positions
        if len(found) % SAY_EVERY == 0:
            job.progress(5 + 5 * seen / POSITIONS, 10, f"compared {seen:,} of {POSITIONS:,} positions")
        if seen >= POSITIONS:
            break
    _leave(job, found, seen)


def distance(source: Model, other: Model, example: Example, most: int) -> Distance:
    """How far *other* is from *source* where *example* is predicted, at the first *most* positions at the most."""
    given = slice(example.start - 1, example.start - 1 + most)
    ours, theirs = (log_softmax(model.logits(example.ids[:-1])[given]) for model in (source, other))
    divergence = (np.exp(ours) * (ours - theirs)).sum(axis=-1)
    flips = ours.argmax(axis=-1) != theirs.argmax(axis=-1)
    largest = float(np.abs(np.exp(ours) - np.exp(theirs)).max(initial=0.0))
    return Distance(float(np.maximum(divergence, 0.0).sum()), int(flips.sum()), len(flips), largest)


def _leave(job: Job, found: list[Distance], seen: int) -> None:
    divergence, flips = sum(one.divergence for one in found) / seen, sum(one.flips for one in found)
    around = bootstrap([one.divergence for one in found], [one.positions for one in found], SEED)
    job.measure("kl_to_source", divergence, "nats/token", about="out", source="train", n=seen, interval=around)
    job.measure("top1_flips", flips / seen, "share", about="out", source="train", n=seen, interval=wilson(flips, seen))
    agreed, largest = seen - flips, max(one.largest for one in found)
    job.measure(
        "parity_agreement", agreed / seen, "share", about="out", source="train", n=seen, interval=wilson(agreed, seen)
    )
    job.measure("parity_difference", largest, "probability", about="out", source="train", n=seen)
    job.fact(f"KL {divergence:.1e} nats, {flips / seen:.2%} first choices changed on {seen:,} positions")


def _held_out(data: Path, voice: Voice, context: int) -> Iterator[Example]:
    """Rows of every split in turns, so that each has its say; training rows when nothing is held out."""
    own = ("train.jsonl", "rejected.jsonl")
    splits = sorted(path for path in data.glob("*.jsonl") if path.name not in own) or [data / "train.jsonl"]
    for rows in itertools.zip_longest(*(rows_of(path) for path in splits)):
        yield from (voice.example(row).clipped(context) for row in rows if row)
