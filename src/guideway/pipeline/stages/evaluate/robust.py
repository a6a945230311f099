"""How much is lost when prompts suffer: the same rows, as they are and as each kind of damage makes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from guideway.pipeline.stages.evaluate.ask import halves
from guideway.pipeline.stages.evaluate.perturb import perturbed
from guideway.pipeline.stages.evaluate.report import Figure
from guideway.pipeline.stages.intervals import bootstrap

Score = Callable[[Sequence[Mapping[str, Any]]], list[float]]
Row = Mapping[str, Any]


class Robustness(NamedTuple):
    """The mean score of the prompts as they are, and its drop by each kind of damage."""

    undamaged: float
    drops: list[tuple[str, Figure]]


def robustness(
    score: Score, rows: Sequence[Row], kinds: Sequence[str], *, about: str, seed: int, say: Callable[[float], None]
) -> Robustness:
    """What each of *kinds* takes of the mean score of *rows*, one at least, with a paired interval. *about*: whose."""
    clean, found = score(rows), []
    for number, kind in enumerate(kinds, 1):
        hurt = score([damaged(row, kind, seed) for row in rows])
        lost = [before - after for before, after in zip(clean, hurt, strict=True)]
        around = bootstrap(lost, [1] * len(lost), seed)
        found.append((kind, Figure("perturbation_drop", sum(lost) / len(lost), "share", about, len(lost), around)))
        say(number / len(kinds))
    return Robustness(sum(clean) / len(clean), found)


def damaged(row: Row, kind: str, seed: int) -> dict[str, Any]:
    """*row* with damage of *kind* in what the user said last, or in the beginning of a text; the answer stays."""
    if "text" in row:
        return {**row, "given": perturbed(halves(row)[0], kind, seed)}
    messages = [dict(one) for one in row["messages"]]
    asked = next((one for one in reversed(messages[:-1]) if one["role"] == "user"), messages[0])
    asked["content"] = perturbed(asked["content"], kind, seed)
    return {**row, "messages": messages}


def in_turns(splits: Sequence[Sequence[Row]], most: int) -> list[Row]:
    """The first *most* rows of all *splits*, one of each in turns."""
    mixed: Iterator[Row] = (row for rows in itertools.zip_longest(*splits) for row in rows if row)
    return list(itertools.islice(mixed, most))
