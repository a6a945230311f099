"""Two releases that write: right answers row by row, and loss per byte, which needs no common tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guideway.pipeline.stages.against.report import Compared
from guideway.pipeline.stages.classify.scores import mcnemar
from guideway.pipeline.stages.evaluate.answers import is_right
from guideway.pipeline.stages.evaluate.speaker import Speaker
from guideway.pipeline.stages.intervals import bootstrap
from guideway.pipeline.stages.models import losses

Row = Mapping[str, Any]
SHORTEST = 16
"""Characters of a text below which it is not cut any more."""


def compare_texts(split: str, rows: Sequence[Row], ours: Speaker, theirs: Speaker, seed: int) -> list[Compared]:
    """What *ours* gains over *theirs* on the *rows* of *split*; rows that fit only one of them are left out."""
    fitting = [one for one in (_fitted(row, (ours, theirs)) for row in rows) if one is not None]
    found = [_of_loss(split, fitting, ours, theirs, seed)] if fitting else []
    chats = [row for row in rows if "messages" in row]
    return found + ([_of_answers(split, chats, ours, theirs, seed)] if chats else [])


def _of_loss(split: str, rows: Sequence[Row], ours: Speaker, theirs: Speaker, seed: int) -> Compared:
    sizes = [len(_told(row).encode()) for row in rows]
    pairs = [[float(losses(one.model, one.example(row)).sum()) for row in rows] for one in (ours, theirs)]
    gains = [other - own for own, other in zip(*pairs, strict=True)]
    total = sum(sizes)
    own, other = (sum(sums) / total for sums in pairs)
    interval = bootstrap(gains, sizes, seed)
    return Compared("serving_loss_gain", split, own, other, sum(gains) / total, "nats/byte", len(rows), interval)


def _of_answers(split: str, rows: Sequence[Row], ours: Speaker, theirs: Speaker, seed: int) -> Compared:
    asked = [row["messages"][:-1] for row in rows]
    wanted = [row["messages"][-1]["content"] for row in rows]
    right = [
        np.array([is_right(said, one) for said, one in zip(speaker.answers(asked), wanted, strict=True)])
        for speaker in (ours, theirs)
    ]
    gains = (right[0].astype(float) - right[1]).tolist()
    n = len(rows)
    own, other = (float(hits.mean()) for hits in right)
    interval = bootstrap(gains, [1] * n, seed)
    return Compared(
        "serving_exact_match_gain", split, own, other, sum(gains) / n, "share", n, interval, mcnemar(*right)
    )


def _fitted(row: Row, speakers: Sequence[Speaker]) -> Row | None:
    """*row* so that both read all that is predicted: a text may lose its end, an answer must fit; None: it does not."""
    if "text" not in row:
        return row if all(_whole(one, row) for one in speakers) else None
    text = row["text"]
    while not all(_whole(one, {"text": text}) for one in speakers):
        if len(text) < 2 * SHORTEST:
            return None
        text = text[: len(text) // 2]
    return {"text": text} if text else None


def _whole(speaker: Speaker, row: Row) -> bool:
    return speaker.voice.example(row).predicted == speaker.example(row).predicted


def _told(row: Row) -> str:
    """What is predicted of *row*, and the end of it, which counts as one byte."""
    text: str = row["text"] if "text" in row else row["messages"][-1]["content"]
    return text + "\n"
