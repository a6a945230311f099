"""Splits of labelled rows: of every label the same share, whatever the order of the rows. Pure, seeded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from guideway.core.spec import Split
from guideway.pipeline.stages.data.split import assign, draw


class Labelled(NamedTuple):
    """A row as a split sees it. ``content`` stands for its text: the same text is in one split only."""

    content: str
    label: str
    fields: Mapping[str, Any]


def is_stratified(split: Split) -> bool:
    """Does it take a share of every label? One that goes by groups keeps them whole and cannot."""
    return split.share is not None and not split.by


def chosen(splits: Mapping[str, Split], rows: Iterable[Labelled], seed: int) -> dict[str, frozenset[str]]:
    """The contents that each stratified split takes of *rows*. A content counts for the first of its labels."""
    found = {name: frozenset[str]() for name, split in splits.items() if is_stratified(split)}
    if not found:
        return {}
    left = {row.content: row for row in sorted(rows, key=lambda row: (row.content, row.label), reverse=True)}
    for name, split in splits.items():
        if name in found:
            found[name] = _share_of(left.values(), name, split.share or 0.0, seed)
            left = {content: row for content, row in left.items() if content not in found[name]}
        else:
            taken = {name: split}
            left = {key: row for key, row in left.items() if assign(taken, row.fields, key, seed)[1] is None}
    return found


def _share_of(rows: Iterable[Labelled], name: str, share: float, seed: int) -> frozenset[str]:
    """The rows of each label with the smallest draws; one at least of a label with two rows or more."""
    strata: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in rows:
        strata[row.label].append((draw(seed, name, (row.content,)), row.content))
    taken: set[str] = set()
    for drawn in strata.values():
        count = round(share * len(drawn))
        least = 1 if share > 0.0 and len(drawn) > 1 else 0
        taken.update(content for _, content in sorted(drawn)[: max(count, least)])
    return frozenset(taken)
