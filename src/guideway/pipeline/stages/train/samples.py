"""A few questions that the model is asked at every validation, so that people see it learn."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from guideway.pipeline.stages.examples import Voice

SHOWN = 3
"""Rows that are asked."""
LONGEST = 24
"""Tokens of an answer."""
BEGINNING = 16
"""Tokens of a text that are given, or half of it where it is shorter."""


class Sample(NamedTuple):
    """One question: its text and its tokens, and what was right."""

    asked: str
    wanted: str
    ids: list[int]


def samples_of(voice: Voice, rows: Sequence[Mapping[str, Any]], context: int) -> list[Sample]:
    """The first rows that leave room for an answer within *context* tokens."""
    found = (_sample(voice, row) for row in rows)
    return [one for one in found if len(one.ids) + LONGEST <= context][:SHOWN]


def answers(model: Any, voice: Voice, samples: Sequence[Sample]) -> tuple[str, ...]:
    """What *model* says now: always the likeliest token."""
    return tuple(voice.decode(_answer(model, one.ids, voice.stop_ids)) for one in samples)


def _sample(voice: Voice, row: Mapping[str, Any]) -> Sample:
    example = voice.example(row)
    if "text" in row:
        given = min(BEGINNING, max(1, len(example.ids) // 2))
        ids, rest = example.ids[:given], example.ids[given : given + LONGEST]
        return Sample(voice.decode(ids), voice.decode(rest), ids)
    return Sample(row["messages"][-2]["content"], row["messages"][-1]["content"], example.ids[: example.start])


@torch.no_grad()
def _answer(model: Any, prompt: Sequence[int], stop_ids: Collection[int]) -> list[int]:
    ids = list(prompt)
    while len(ids) < len(prompt) + LONGEST:
        logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
        token = int(logits[0, -1].argmax())
        if token in stop_ids:
            break
        ids.append(token)
    return ids[len(prompt) :]
