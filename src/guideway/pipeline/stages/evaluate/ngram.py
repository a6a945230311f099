"""The baseline that a model must beat: three-grams, interpolated after Witten and Bell. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from guideway.pipeline.stages.examples import Example

Context = tuple[int, ...]


class NGrams:
    """Counts of tokens after the last 0 to ``order - 1`` tokens; each order leans on the one below where it must."""

    def __init__(self, vocabulary: int, order: int = 3) -> None:
        self.vocabulary, self.order = vocabulary, order
        self._after: defaultdict[Context, Counter[int]] = defaultdict(Counter)
        self._sums: Counter[Context] = Counter()

    def learn(self, example: Example) -> None:
        """Count the predicted tokens of *example*: what the model learns from too."""
        for at in range(example.start, len(example.ids)):
            for context in self._contexts(example.ids, at):
                self._after[context][example.ids[at]] += 1
                self._sums[context] += 1

    def probability(self, ids: Sequence[int], at: int) -> float:
        """The probability of the token at *at* after those before it; never 0."""
        share = 1.0 / self.vocabulary
        for context in self._contexts(ids, at):
            after = self._after.get(context)
            if after is None:
                break
            kinds, total = len(after), self._sums[context]
            share = (after[ids[at]] + kinds * share) / (total + kinds)
        return share

    def loss(self, example: Example) -> float:
        """The summed loss of the predicted tokens of *example*, in nats."""
        return -sum(math.log(self.probability(example.ids, at)) for at in range(example.start, len(example.ids)))

    def _contexts(self, ids: Sequence[int], at: int) -> list[Context]:
        """The contexts of the token at *at*, the shortest first."""
        return [tuple(ids[at - size : at]) for size in range(min(self.order, at + 1))]
