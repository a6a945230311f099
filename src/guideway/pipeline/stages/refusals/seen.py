"""Prompts that something has learnt from: what it has seen it refuses, or answers, and the share says nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from guideway.core.errors import SpecError
from guideway.core.text_forms import latin
from guideway.pipeline.stages.data.clean import same
from guideway.pipeline.stages.data.split import TRAIN
from guideway.pipeline.stages.examples import rows_of
from guideway.pipeline.stages.guard.rows import read_rows
from guideway.pipeline.stages.refusals.prompts import Asked

CLASSIFIER, MODEL = "classifier", "model"
"""Who learnt: the classifier of the guardrails from its prompts, the model from the training rows."""
_WORD = re.compile(r"[^\W_]+")


class Seen(NamedTuple):
    """A prompt that was left out, and who learnt from it."""

    prompt: str
    file: str
    by: str


def apart(asked: Sequence[Asked], learnt: Mapping[str, Iterable[str]]) -> tuple[list[Asked], list[Seen]]:
    """The prompts of *asked* that nobody learnt from, and the others; *learnt* are prompts by who learnt from them.

    Two prompts are the same if their words are: letter case, signs and disguises of letters do not matter.
    """
    wanted = {bare(one.prompt) for one in asked}
    known = {by: {key for text in texts if (key := bare(text)) in wanted} for by, texts in learnt.items()}
    found: list[Asked] = []
    seen: list[Seen] = []
    for one in asked:
        by = next((by for by, keys in known.items() if bare(one.prompt) in keys), None)
        if by is None:
            found.append(one)
        else:
            seen.append(Seen(one.prompt, one.file, by))
    return found, seen


def bare(text: str) -> str:
    """The words of *text* as a classifier of prompts sees them; a text without words is compared as it is."""
    return " ".join(_WORD.findall(latin(text))) or same(text)


def learnt_from(files: Sequence[Path], data: Path | None) -> dict[str, Iterable[str]]:
    """The prompts in *files*, which the classifier learnt from, and in *data*, if the model learnt from that."""
    found: dict[str, Iterable[str]] = {}
    if files:
        found[CLASSIFIER] = [row.prompt for row in read_rows(files)]
    if data is not None:
        found[MODEL] = _asked_of(data / f"{TRAIN}.jsonl")
    return found


def _asked_of(path: Path) -> Iterator[str]:
    """What users say in the training rows, turn by turn; the whole text, where a row is one."""
    for row in rows_of(path):
        if "text" in row:
            yield row["text"]
        else:
            yield from (one["content"] for one in row["messages"] if one["role"] == "user")


def check_left(kind: str, left: Sequence[Asked], seen: Sequence[Seen]) -> None:
    """Refuse prompts of which none is left.

    Raises:
        SpecError: all of them were learnt from.
    """
    if not left:
        raise SpecError(
            f"all {len(seen)} prompts were learnt from, by {' and '.join(sorted({one.by for one in seen}))}",
            where=f"evaluate.refusals.{kind}",
            try_this="ask what nobody learnt from",
        )
