"""How far the compressed model moved from the trained one, on text that neither has seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from guideway.core.evidence import Interval
from guideway.core.protocols import Job
from guideway.pipeline.stages.examples import Example, Voice, rows_of
from guideway.pipeline.stages.intervals import bootstrap, wilson
from guideway.pipeline.stages.models import Compressed, Model, Trained, log_softmax, logits_from

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


class Apart(NamedTuple):
    """How far a model is from its source at ``n`` positions: the mean divergence, changed first choices, the largest
    difference of any probability. Intervals are of 95 %.
    """

    n: int
    kl: float
    kl_interval: Interval
    flipped: int
    flips: float
    flips_interval: Interval
    largest: float


def measure_distance(job: Job) -> None:
    """Measure the divergence and the changed first choices of ``out`` against ``train``."""
    trained, compressed = Trained(job.inputs["train"]), Compressed(job.out)
    voice = Voice(job.inputs["train"])

    def say(seen: int) -> None:
        job.progress(5 + 5 * seen / POSITIONS, 10, f"compared {seen:,} of {POSITIONS:,} positions")

    leave_distance(job, compare(trained, compressed, held_out(job.inputs["data"], voice, trained.context), say))


def compare(source: Model, other: Model, examples: Iterable[Example], say: Callable[[int], None]) -> Apart:
    """How far *other* is from *source* on *examples*, in pairs: both read the same tokens.

    *say* is told from time to time how many positions were compared.
    """
    found: list[Distance] = []
    seen = 0
    for example in examples:
        found.append(distance(source, other, example, POSITIONS - seen))
        seen += found[-1].positions
        if len(found) % SAY_EVERY == 0:
            say(seen)
        if seen >= POSITIONS:
            break
    flipped = sum(one.flips for one in found)
    return Apart(
        n=seen,
        kl=sum(one.divergence for one in found) / seen,
        kl_interval=bootstrap([one.divergence for one in found], [one.positions for one in found], SEED),
        flipped=flipped,
        flips=flipped / seen,
        flips_interval=wilson(flipped, seen),
        largest=max(one.largest for one in found),
    )


def distance(source: Model, other: Model, example: Example, most: int) -> Distance:
    """How far *other* is from *source* where *example* is predicted, at the first *most* positions at the most."""
    ids, start = example.ids[: example.start + most][:-1], example.start - 1
    ours, theirs = (log_softmax(logits_from(model, ids, start)[:most]) for model in (source, other))
    divergence = (np.exp(ours) * (ours - theirs)).sum(axis=-1)
    flips = ours.argmax(axis=-1) != theirs.argmax(axis=-1)
    largest = float(np.abs(np.exp(ours) - np.exp(theirs)).max(initial=0.0))
    return Distance(float(np.maximum(divergence, 0.0).sum()), int(flips.sum()), len(flips), largest)


def leave_distance(job: Job, found: Apart) -> None:
    """Leave what was *found* as evidence about ``out`` against ``train``."""

    def measure(metric: str, value: float, unit: str, interval: Interval | None = None) -> None:
        job.measure(metric, value, unit, about="out", source="train", n=found.n, interval=interval)

    agreed = found.n - found.flipped
    measure("kl_to_source", found.kl, "nats/token", found.kl_interval)
    measure("top1_flips", found.flips, "share", found.flips_interval)
    measure("parity_agreement", agreed / found.n, "share", wilson(agreed, found.n))
    measure("parity_difference", found.largest, "probability")
    job.fact(f"KL {found.kl:.1e} nats, {found.flips:.2%} first choices changed on {found.n:,} positions")


def held_out(data: Path, voice: Voice, context: int) -> Iterator[Example]:
    """Rows of every split in turns, so that each has its say; training rows when nothing is held out."""
    own = ("train.jsonl", "rejected.jsonl")
    splits = sorted(path for path in data.glob("*.jsonl") if path.name not in own) or [data / "train.jsonl"]
    for rows in itertools.zip_longest(*(rows_of(path) for path in splits)):
        yield from (voice.example(row).clipped(context) for row in rows if row)
