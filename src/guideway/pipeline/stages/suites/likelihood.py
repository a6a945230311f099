"""What a task asks of a model, in tokens: how likely a continuation or a text is, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from guideway.pipeline.stages.evaluate.answers import cut
from guideway.pipeline.stages.evaluate.speaker import Speaker
from guideway.pipeline.stages.models import log_softmax


class Reader:
    """Reads contexts of tasks for *speaker*: as conversations that its template wrote (*chat*), or as plain texts."""

    def __init__(self, speaker: Speaker, *, chat: bool) -> None:
        self._model, self._voice, self._chat = speaker.model, speaker.voice, chat
        self._begin = speaker.voice.example({"text": ""}).ids[0]

    def continuation(self, context: str, said: str) -> tuple[float, bool]:
        """The log probability, in nats, of *said* after *context*, and whether it is the first choice throughout.

        White space at the end of a plain context belongs to what follows, as tokenizers have it.
        """
        given, rest = self._split(context, said)
        if not rest:
            return 0.0, True
        ids = [*given, *rest][-(self._model.context + 1) :]
        count = min(len(rest), len(ids) - 1)
        logs = log_softmax(self._model.logits(ids[:-1])[-count:])
        wanted = np.array(ids[-count:])
        chosen = logs[np.arange(count), wanted]
        return float(chosen.sum()), bool((logs.argmax(axis=-1) == wanted).all())

    def whole(self, text: str) -> float:
        """The log probability of *text* from its beginning, in nats; a long one in windows, each token once.

        The last window reaches back as far as the context allows, so that no token is judged with less than it needs.
        """
        ids = self._voice.encode(text)
        line, size, total = [self._begin, *ids], self._model.context, 0.0
        for start in range(0, len(ids), size):
            end = min(start + size, len(ids))
            first = max(0, end - size)
            logs = log_softmax(self._model.logits(line[first:end])[start - first :])
            total += float(logs[np.arange(end - start), ids[start:end]].sum())
        return total

    def answers(self, contexts: Sequence[str], most: int, stop: Sequence[str]) -> list[str]:
        """The greedy answer to each context in at most *most* tokens, up to the first of the *stop* strings."""
        most = min(most, self._model.context // 2)
        room = self._model.context - most
        prompts = [self._given(one)[-room:] for one in contexts]
        found = self._model.answers(prompts, most, self._voice.stop_ids)
        return [cut(self._voice.decode(ids), stop) for ids in found]

    def _split(self, context: str, said: str) -> tuple[list[int], list[int]]:
        if self._chat:
            return self._given(context), self._voice.encode(said)
        kept = context.rstrip()
        said = context[len(kept) :] + said
        given = self._given(kept)
        return given, self._given(kept + said)[len(given) :]

    def _given(self, context: str) -> list[int]:
        if self._chat:
            ids: list[int] = self._voice.text.tokenizer.encode(context, add_special_tokens=False).ids
            return ids
        return [self._begin, *self._voice.encode(context)]
