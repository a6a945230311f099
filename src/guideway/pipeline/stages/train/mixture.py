"""Batches from several sources, each with its share of them. Pure and seeded: the same batches every time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.train.batches import batches


class Part(NamedTuple):
    """One source in a mixture: its path as the spec says it, and its weight."""

    path: str
    weight: float


class Mixture:
    """Examples by the number of their source. Where *parts* is empty, all examples count alike, whatever their source.

    Raises:
        GuidewayError: a source that has a weight has no example.
    """

    def __init__(self, parts: Sequence[Part], examples: Mapping[int, Sequence[Example]]) -> None:
        whole = {0: [one for _, some in sorted(examples.items()) for one in some]}
        self.parts, self.examples = parts, examples if parts else whole
        for number, part in enumerate(parts):
            if not examples.get(number):
                raise GuidewayError(
                    f"no training row comes from '{part.path}', which has a weight",
                    where="data.sources",
                    try_this="remove the source, or hold out less of it",
                )

    def batches(self, size: int, seed: int) -> Iterator[list[Example]]:
        """Batches without end, each from one source."""
        supplies = {number: batches(some, size, seed + number) for number, some in sorted(self.examples.items())}
        for number in self._turns():
            yield next(supplies[number])

    def report(self, job: Job, count: int) -> None:
        """Leave the shares of the first *count* batches as evidence, and in a few words."""
        if not self.parts:
            return
        given = Counter(itertools.islice(self._turns(), count))
        for number, part in enumerate(self.parts):
            job.measure("mixture_share", given[number] / count, "share", about="out", n=count, slice=part.path)
        job.fact(
            "batches from " + ", ".join(f"{part.path} {given[n] / count:.1%}" for n, part in enumerate(self.parts))
        )

    def _turns(self) -> Iterator[int]:
        weights = [part.weight for part in self.parts]
        return turns(weights) if weights else itertools.repeat(0)


def turns(weights: Sequence[float]) -> Iterator[int]:
    """Whose turn it is: always his who is furthest behind his share, so that no share is ever off by a whole turn."""
    given = [0] * len(weights)
    while True:
        number = min(range(len(weights)), key=lambda one: ((given[one] + 0.5) / weights[one], one))
        given[number] += 1
        yield number
