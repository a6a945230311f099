"""Batches without waste: rows of like length together, texts packed into full blocks. Pure, seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from guideway.pipeline.stages.examples import Example

WINDOW = 16
"""Batches that are sorted by length together: wide enough to save padding, narrow enough to stay mixed."""


def packed(texts: Sequence[Example], block: int) -> list[Example]:
    """All texts in one stream, cut into blocks of *block* tokens; the last one is as short as it comes."""
    stream = [token for text in texts for token in text.ids[1:]]
    stream = [texts[0].ids[0], *stream] if texts else []
    blocks = [Example(stream[at : at + block], 1) for at in range(0, len(stream), block - 1)]
    return [one for one in blocks if one.predicted > 0]


class Sized(Protocol):
    """Anything with token ids."""

    @property
    def ids(self) -> list[int]:
        """The tokens that decide how long it is."""


T = TypeVar("T", bound=Sized)
R = TypeVar("R")


def batches(examples: Sequence[T], size: int, seed: int) -> Iterator[list[T]]:
    """Batches without end. Every pass over the data has a new order; all orders follow from *seed*."""
    draw = random.Random(seed)
    order = list(range(len(examples)))
    while True:
        draw.shuffle(order)
        cut = []
        for at in range(0, len(order), size * WINDOW):
            window = sorted(order[at : at + size * WINDOW], key=lambda index: (len(examples[index].ids), index))
            cut += [window[start : start + size] for start in range(0, len(window), size)]
        draw.shuffle(cut)
        for batch in cut:
            yield [examples[index] for index in batch]


def shuffled(rows: Sequence[R], size: int, seed: int) -> Iterator[list[R]]:
    """Batches without end, of *size* rows each, or of all if there are fewer; all follow from *seed*.

    Every pass over the rows has a new order, and a batch may begin in one pass and end in the next. So a row meets
    others in every pass, which matters where rows of a batch are told from each other: sorted by length it would
    always meet the same ones.
    """
    draw = random.Random(seed)
    order: list[int] = []
    while True:
        while len(order) < min(size, len(rows)):
            order += draw.sample(range(len(rows)), len(rows))
        batch, order = order[:size], order[size:]
        yield [rows[index] for index in batch]
