"""A release that speaks: its model, its prompt template and system prompt, its stop strings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from guideway.core.errors import GuidewayError
from guideway.core.protocols import Job
from guideway.core.release import ServeSettings
from guideway.pipeline.stages.evaluate.answers import cut
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.models import Compressed, Model, Trained

Message = Mapping[str, Any]


class Speaker:
    """Answers greedily, in at most *max_tokens* tokens, to what a user says or a text begins with."""

    def __init__(self, model: Model, voice: Voice, *, task: str, stop: Sequence[str], max_tokens: int) -> None:
        self.model, self.voice = model, voice
        self._chats, self._stop, self._max_tokens = task == "chat", stop, max_tokens

    def ask(self, prompts: Sequence[str]) -> list[str]:
        """The answer to each of *prompts*, each a conversation of its own, or the beginning of a text."""
        return self.answers([[{"role": "user", "content": prompt}] for prompt in prompts])

    def answers(self, conversations: Sequence[Sequence[Message]]) -> list[str]:
        """The next answer in each conversation. One that is too long for the context loses its beginning."""
        asked = [self._ids(one) for one in conversations]
        room = self.model.context - min(self._max_tokens, self.model.context // 2)
        found = self.model.answers([ids[-room:] for ids in asked], self._max_tokens, self.voice.stop_ids)
        return [cut(self.voice.decode(ids), self._stop) for ids in found]

    def example(self, row: Message) -> Example:
        """*row* of a data set as tokens, clipped to the context."""
        return self.voice.example(row).clipped(self.model.context)

    def _ids(self, conversation: Sequence[Message]) -> list[int]:
        if self._chats:
            return self.voice.text.encode_chat(conversation, self.voice.system)
        return self.voice.example({"text": conversation[-1]["content"]}).ids[:-1]


def shipping(job: Job, max_tokens: int) -> Speaker:
    """The release that this build makes, from the inputs of *job* and the parameters of ``voice_of``."""
    params = job.params
    template = (job.root / params["template"]).read_text(encoding="utf-8") if params["template"] else ""
    voice = Voice(job.inputs["train"], template=template, system=params["system"])
    model = Trained(job.inputs["train"]) if params["ships"] == "train" else Compressed(job.inputs["compress"])
    limit = min(max_tokens, params["most"])
    return Speaker(model, voice, task=params["task"], stop=params["stop"], max_tokens=limit)


def sealed(folder: Path, max_tokens: int) -> Speaker:
    """The release whose files lie in *folder*.

    Raises:
        GuidewayError: it is no release that writes text.
    """
    settings = msgspec.json.decode((folder / "serve.json").read_bytes(), type=ServeSettings)
    if settings.task == "classify":
        raise GuidewayError(f"'{settings.name}' names classes and writes no text", where=str(folder))
    inside = folder / "model"
    model: Model = Compressed(inside) if settings.engine == "onnx" else Trained(inside)
    voice = Voice(inside, template=settings.template, system=settings.system)
    limit = min(max_tokens, settings.decoding.max_tokens)
    return Speaker(model, voice, task=settings.task, stop=settings.decoding.stop, max_tokens=limit)
