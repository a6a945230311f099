"""What stage explain found: one line per text, and the figures over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from guideway.pipeline.stages.explain.attribution import Attribution
from guideway.pipeline.stages.explain.deletion import Deletion, Faithfulness

RIGHT, WRONG = "✓", "✗"
"""Groups of texts on a map, by whether the answer was right."""


class Line(NamedTuple):
    """One explained text: its id and attribution, the right answer if it is known, and its deletion test."""

    id: str
    found: Attribution
    wanted: str
    right: bool | None
    deletion: Deletion | None

    def plain(self) -> dict[str, Any]:
        """The line of ``attributions.jsonl``; ``gain`` is that of the deletion test, null for a single token."""
        return {
            "id": self.id,
            **msgspec.to_builtins(self.found),
            "wanted": self.wanted,
            "right": self.right,
            "gain": self.deletion.gain if self.deletion else None,
        }


class Map(NamedTuple):
    """Texts in the plane, as *name* (PCA, t-SNE) lays them: [texts, 2], each of a group."""

    name: str
    points: Sequence[tuple[float, float]]
    groups: Sequence[str]


class Findings(NamedTuple):
    """All of it. ``ships`` is the stage whose model was explained; ``classes`` whether it chooses among classes."""

    split: str
    ships: str
    method: str
    unit: str
    classes: bool
    lines: Sequence[Line]
    faithfulness: Faithfulness | None
    maps: Sequence[Map]


class Word(NamedTuple):
    """A token in all texts: its mean absolute weight, and the weight of each time that it stands there."""

    text: str
    importance: float
    weights: tuple[float, ...]


def words(lines: Iterable[Line], most: int) -> list[Word]:
    """The *most* important tokens, letter case aside; one that stands only once counts where others do not suffice."""
    weights: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines:
        for token, weight in zip(line.found.tokens, line.found.weights, strict=True):
            weights[token.text.casefold()].append(weight)
    found = [Word(text, sum(map(abs, all_)) / len(all_), tuple(all_)) for text, all_ in weights.items()]
    ranked = sorted(found, key=lambda word: (len(word.weights) < 2, -word.importance, word.text))[:most]
    return sorted(ranked, key=lambda word: (-word.importance, word.text))
