"""Language models: which words of the prompt made this answer. Scored by the model server's own backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from guideway.core.errors import SpecError
from guideway.pipeline.stages.compress.sizes import weights
from guideway.pipeline.stages.evaluate.answers import cut, is_right
from guideway.pipeline.stages.examples import Voice
from guideway.pipeline.stages.explain.attribution import Floats, Masks, Value, remembered, tokens_of, variant
from guideway.pipeline.stages.explain.subject import Case
from guideway.pipeline.stages.formats import format_in, open_backend
from guideway.pipeline.stages.threads import threads_for
from guideway.replica.backend import SLOTS, Backend
from guideway.replica.score import Rescorer, generate_all, log_probabilities

if TYPE_CHECKING:
    from guideway.pipeline.stages.explain.answer_gradients import AnswerGradients

PROMPT_SHARE = 0.5
"""How much of a plain text is taken as the prompt, for want of a question."""

Messages = Sequence[Mapping[str, Any]]


class Settings(NamedTuple):
    """How the release answers: what ``serve`` of the spec says."""

    task: str
    system: str = ""
    template: str = ""
    max_tokens: int = 32
    stop: tuple[str, ...] = ()


class Asked(NamedTuple):
    """A text to explain, who says it, the turns of the conversation before it, and the right answer if there is one."""

    text: str
    role: str = "user"
    before: Messages = ()
    id: str = ""
    wanted: str | None = None


class Said(NamedTuple):
    """An answer: its tokens with the one that ended it, and its text."""

    ids: list[int]
    text: str


class Answers:
    """A language model in *folder* that explains its answers; weights and scores are log probabilities, in nats."""

    unit, auto = "nats", "occlusion"

    def __init__(self, folder: Path, settings: Settings, trained: Path | None = None) -> None:
        self._settings, self._trained = settings, trained
        self._voice = Voice(folder, template=settings.template, system=settings.system)
        self._model = open_model(folder)

    def cases(self, rows: Sequence[dict[str, Any]]) -> list[Case]:
        """One case for each of *rows*: the greedy answer to its last question, or to the beginning of its text."""
        asked = [asked_of(row) for row in rows]
        return [self.case(one, said) for one, said in zip(asked, self.answers(asked), strict=True)]

    def ask(self, text: str, target: str | None = None) -> Case:
        """The case of *text* and of the answer *target*, by default the greedy one.

        Raises:
            SpecError: the model cannot read so long a text or answer.
        """
        asked, context = Asked(text), self._model.context
        said = None if target is None else self.said(target)
        prompt, answer = len(self._prompt(asked, text)), len(said.ids) if said else 1
        if prompt + answer > context + 1:  # the last token of an answer is not read
            both = (
                f"prompt and answer have {prompt:,} + {answer:,} tokens"
                if said
                else f"the prompt has {prompt:,} tokens"
            )
            raise SpecError(f"{both}; {context:,} can be read", try_this="a shorter text")
        return self.case(asked, said or self.answers([asked], room=1)[0])

    def case(self, asked: Asked, said: Said) -> Case:
        """The case of one answer, whoever gave it."""
        tokens, right = tokens_of(asked.text), None
        if asked.wanted is not None:
            right = is_right(said.text, asked.wanted)
        return Case(
            asked.text,
            tokens,
            said.text,
            remembered(self._value(asked, said.ids)),
            gradients=partial(self._gradients, asked, said.ids) if self._trained else None,
            id=asked.id,
            wanted=asked.wanted or "",
            right=right,
        )

    def answers(self, asked: Sequence[Asked], room: int = 0) -> list[Said]:
        """The greedy answer to each. A prompt that leaves less than *room* tokens for it loses its beginning.

        By default the room is what the longest answer needs, as in evaluation.
        """
        context = self._model.context
        most = min(self._settings.max_tokens, max(1, context // 2))
        prompts = [self._prompt(one, one.text)[(room or most) - context :] for one in asked]
        found = generate_all(self._model, prompts, most, self._voice.stop_ids)
        limits = [min(most, context - len(prompt)) for prompt in prompts]
        return [self._said(ids, ended=len(ids) < limit) for ids, limit in zip(found, limits, strict=True)]

    def said(self, text: str) -> Said:
        """An answer that somebody gives: *text*, and the token that ends it."""
        return Said([*self._voice.encode(text), self._voice.end], text)

    def places(self, texts: Sequence[str]) -> Floats:
        """The mean of the last hidden states over the tokens of each text, of the trained model."""
        from guideway.pipeline.stages.models import Trained

        assert self._trained
        model = Trained(self._trained)
        return np.stack([model.hidden(self._voice.encode(text)[: model.context] or [0]).mean(axis=0) for text in texts])

    def _said(self, ids: list[int], *, ended: bool) -> Said:
        whole = self._voice.decode(ids)
        text = cut(whole, self._settings.stop)
        if text != whole:
            return self.said(text)
        return Said([*ids, self._voice.end] if ended else ids, text)

    def _value(self, asked: Asked, answer: Sequence[int]) -> Value:
        tokens, room = tokens_of(asked.text), self._model.context - len(answer) + 1

        def value(masks: Masks) -> Floats:
            texts = [variant(asked.text, tokens, mask) for mask in masks]
            prompts = [self._prompt(asked, text)[-room:] for text in texts]
            return log_probabilities(self._model, prompts, answer)

        return value

    def _gradients(self, asked: Asked, answer: Sequence[int]) -> Floats:
        from guideway.pipeline.stages.explain.answer_gradients import placed, placed_alone

        text = self._voice.text
        if self._settings.task == "completion":
            ids, spans = placed_alone(text, asked.text)
        else:
            ids, spans = placed(text, self._turns(asked, asked.text), self._settings.system)
        room = self._model.context - len(answer) + 1
        return self._differentiable.weights(ids[-room:], spans[-room:], tokens_of(asked.text), answer)

    @cached_property
    def _differentiable(self) -> AnswerGradients:
        from guideway.pipeline.stages.explain.answer_gradients import AnswerGradients

        assert self._trained
        return AnswerGradients(self._trained)

    def _turns(self, asked: Asked, text: str) -> list[dict[str, Any]]:
        return [*map(dict, asked.before), {"role": asked.role, "content": text}]

    def _prompt(self, asked: Asked, text: str) -> list[int]:
        """Token ids of *text* in the place of what was asked, as the replica would read them."""
        if self._settings.task == "completion":
            return self._voice.text.encode(text)
        return self._voice.text.encode_chat(self._turns(asked, text), self._settings.system)


class _Model(Backend, Rescorer, Protocol):
    """What answers and scores."""


def open_model(folder: Path) -> _Model:
    """The backend that serves the model in *folder*: that of its format for an export, torch for safetensors.

    Raises:
        SpecError: the export is served by another server alone.
    """
    if format_in(folder):
        model: _Model = open_backend(folder, SLOTS, threads_for(weights(folder)))
        return model
    from guideway.replica.torch_backend import TorchBackend

    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return TorchBackend(folder, slots=SLOTS, threads=threads_for(size // 4))


def asked_of(row: Mapping[str, Any]) -> Asked:
    """The question of a conversation and its right answer; of a plain text its first half, and no right answer."""
    id_ = str(row.get("id", ""))
    if "text" in row:
        tokens = tokens_of(row["text"])
        end = tokens[max(0, round(len(tokens) * PROMPT_SHARE) - 1)].end if tokens else 0
        return Asked(row["text"][:end], id=id_)
    *before, question, answer = row["messages"]
    return Asked(question["content"], question["role"], before, id_, answer["content"])
