"""The shipped model as evaluation sees it: the same session, the same scheduler, the same text as in service."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from guideway.replica.backend import Backend, Logits
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.scheduler import Scheduler
from guideway.replica.text import stop_ids as model_stop_ids

SLOTS = 16
"""Answers computed at once: more gain little on a processor."""


class OnnxScorer:
    """The export in *folder*: scores of whole sequences, and greedy answers.

    ``context`` is in tokens, ``stop_ids`` are the tokens that end an answer.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._backend = OnnxBackend(folder, slots=SLOTS, threads=threads)
        self.context, self.vocabulary = self._backend.context, self._backend.vocabulary
        self.stop_ids = model_stop_ids(folder)

    def logits(self, ids: Sequence[int]) -> Logits:
        """One forward pass over *ids* with a fresh cache: float32 [len(ids), vocabulary], row i scores token i + 1.

        Raises:
            ValueError: the sequence is empty or longer than the context.
        """
        return self._backend.logits(ids)

    def generate_all(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int] | None = None
    ) -> list[list[int]]:
        """Greedy answers to *prompts*, as ``generate_all`` below; by default the model's own stop tokens end them."""
        return generate_all(self._backend, prompts, max_tokens, self.stop_ids if stop_ids is None else stop_ids)


def generate_all(
    backend: Backend, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]
) -> list[list[int]]:
    """Greedy answers to *prompts*, in their order, ``backend.slots`` at a time; stop tokens are left out.

    A prompt that leaves no room in the context has an empty answer.

    Raises:
        ValueError: a prompt is empty.
    """
    works = [_Greedy(prompt, min(max_tokens, backend.context - len(prompt)), stop_ids) for prompt in prompts]
    scheduler = Scheduler(backend)
    for work in works:
        if work.limit > 0:
            scheduler.add(work)
    while scheduler.busy:
        scheduler.step()
    for work in works:
        if work.error:
            raise work.error
    return [work.answer for work in works]


class _Greedy:
    """One prompt, answered with the likeliest token each time."""

    def __init__(self, prompt: Sequence[int], limit: int, stop_ids: Collection[int]) -> None:
        if not prompt:
            raise ValueError("an empty prompt has no answer")
        self.prompt, self.cancelled = prompt, False
        self.answer: list[int] = []
        self.error: Exception | None = None
        self.limit, self._stop_ids = limit, stop_ids

    def pick(self, logits: Logits) -> int:
        return int(np.argmax(logits))

    def take(self, token: int) -> bool:
        if token in self._stop_ids:
            return False
        self.answer.append(token)
        return len(self.answer) < self.limit

    def fail(self, error: Exception) -> None:
        self.error = error
