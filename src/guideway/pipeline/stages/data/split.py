"""Which split a row belongs to: whole groups, drawn by a hash, so neither order nor number of rows matters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from guideway.core.errors import SpecError
from guideway.core.spec import Split

TRAIN = "train"
TAKEN = frozenset({TRAIN, "rejected", "manifest"})
"""Names of the stage's own files, which no split may take."""

Group = tuple[str, ...]


def check_splits(splits: Mapping[str, Split]) -> None:
    """Refuse splits that mean nothing or two things.

    Raises:
        SpecError: names the split.
    """
    for name, split in splits.items():
        where = f"data.splits.{name}"
        if name in TAKEN:
            raise SpecError(f"no split can be called '{name}'", where=where, try_this="choose another name")
        if (split.share is None) == (not split.values):
            raise SpecError("a split has either a share or values", where=where, try_this="keep one of the two")
        if split.values and len(split.by) != 1:
            raise SpecError("values need exactly one field", where=where, try_this="write by: [FIELD]")


def group_of(split: Split, fields: Mapping[str, Any], content: str) -> Group | None:
    """The group of a row in the eyes of *split*; None when it lacks a field. Without ``by``, *content* is the group."""
    if not split.by:
        return (content,)
    if any(fields.get(name) is None for name in split.by):
        return None
    return tuple(_text(fields[name]) for name in split.by)


def assign(
    splits: Mapping[str, Split],
    fields: Mapping[str, Any],
    content: str,
    seed: int,
    chosen: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> tuple[str, Group | None]:
    """The name of the first split that takes this row, or ``train``; and the group that decided it.

    *chosen* holds, for splits that are not drawn row by row, the contents that they take.
    """
    for name, split in splits.items():
        group = group_of(split, fields, content)
        if group is None:
            continue
        if content in chosen[name] if name in chosen else _takes(name, split, group, seed):
            return name, group
    return TRAIN, None


def _takes(name: str, split: Split, group: Group, seed: int) -> bool:
    if split.share is None:
        return group[0] in split.values
    return draw(seed, name, group) < split.share


def draw(seed: int, name: str, group: Group) -> float:
    """A number in [0, 1) that depends on these three alone; every split draws anew."""
    text = json.dumps([seed, name, *group], ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
