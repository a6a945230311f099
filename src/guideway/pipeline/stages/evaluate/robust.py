"""How much is lost when prompts suffer: the same rows, as they are and as each kind of damage makes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from guideway.pipeline.stages.evaluate.ask import halves
from guideway.pipeline.stages.evaluate.perturb import perturbed
from guideway.pipeline.stages.evaluate.report import Figure
from guideway.pipeline.stages.intervals import bootstrap

Score = Callable[[Sequence[Mapping[str, Any]]], list[float]]
Row = Mapping[str, Any]


def robustness(
    score: Score, rows: Sequence[Row], kinds: Sequence[str], *, about: str, seed: int, say: Callable[[float], None]
) -> list[tuple[str, Figure]]:
    """The drop of the mean score by each of *kinds*, as a share, with a paired interval. *about*: whose score it is."""
    clean, found = score(rows), []
    for number, kind in enumerate(kinds, 1):
        hurt = score([damaged(row, kind, seed) for row in rows])
        lost = [before - after for before, after in zip(clean, hurt, strict=True)]
        around = bootstrap(lost, [1] * len(lost), seed)
        found.append((kind, Figure("perturbation_drop", sum(lost) / len(lost), "share", about, len(lost), around)))
        say(number / len(kinds))
    return found


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
