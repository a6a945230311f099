"""Ask a model the rows of a split, just as the release will be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from guideway.core.protocols import Job
from guideway.pipeline.stages.evaluate.answers import cut, is_right
from guideway.pipeline.stages.examples import Example, Voice, rows_of
from guideway.pipeline.stages.models import Model, logits_from


class Question(NamedTuple):
    """One held-out row: the whole example, and for a conversation the prompt alone, its text and the right answer."""

    example: Example
    prompt: list[int]
    asked: str
    wanted: str


class Asker:
    """The voice of the release, its limits, and its stop strings. *context* is in tokens."""

    def __init__(self, job: Job, context: int) -> None:
        params = job.params
        template = (job.root / params["template"]).read_text(encoding="utf-8") if params["template"] else ""
        self._data, self._examples = job.inputs["data"], params["examples"]
        self._voice = Voice(job.inputs["train"], template=template, system=params["system"])
        self.ids_only = self._voice.text.ids_only
        self._context, self._max_tokens, self._stop = context, params["max_tokens"], params["stop"]

    def rows(self, split: str) -> list[dict[str, Any]]:
        """A sample of the rows of *split*: those with the smallest ids, which are digests and so as good as random."""
        return sorted(rows_of(self._data / f"{split}.jsonl"), key=lambda row: str(row["id"]))[: self._examples]

    def question(self, row: Mapping[str, Any]) -> Question:
        """What *row* asks."""
        example = self._voice.example(row).clipped(self._context)
        room = self._context - min(self._max_tokens, self._context // 2)
        messages = row.get("messages", [{"content": ""}])
        asked = messages[-2]["content"] if len(messages) > 1 else ""
        return Question(example, example.ids[: example.start][-room:], asked, messages[-1]["content"])

    def answers(self, model: Model, questions: Sequence[Question]) -> list[str]:
        """The text that *model* answers to each question."""
        found = model.answers([one.prompt for one in questions], self._max_tokens, self._voice.stop_ids)
        return [cut(self._voice.decode(ids), self._stop) for ids in found]

    def scores(self, model: Model, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """How well *model* does on each row: 1 for the right answer; of a text, the foreseen share of its end."""
        if not rows or "text" in rows[0]:
            return [self._foreseen(model, row) for row in rows]
        questions = [self.question(row) for row in rows]
        answers = self.answers(model, questions)
        return [float(is_right(said, one.wanted)) for said, one in zip(answers, questions, strict=True)]

    def _foreseen(self, model: Model, row: Mapping[str, Any]) -> float:
        """The share of tokens after the given beginning that are the model's first choice."""
        given, rest = halves(row)
        start = self._voice.example({"text": given}).ids[:-1]
        ids = Example([*start, *self._voice.encode(rest)], len(start)).clipped(self._context)
        if ids.predicted <= 0:
            return 0.0
        first = logits_from(model, ids.ids[:-1], ids.start - 1).argmax(axis=-1)
        return float((first == ids.ids[ids.start :]).mean())


def scored_by(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the score of *rows* is a share of, as people read it."""
    return "foreseen tokens" if "text" in rows[0] else "exact match"


def halves(row: Mapping[str, Any]) -> tuple[str, str]:
    """The beginning of a text and the rest, parted at a space near the middle, or in the middle.

    A row that suffered keeps its own beginning in ``given``: what follows is judged as it was.
    """
    text = str(row["text"])
    at = text.find(" ", len(text) // 2)
    at = at if at > 0 else len(text) // 2
    return str(row.get("given", text[:at])), text[at:]
