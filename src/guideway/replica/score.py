"""The shipped model as evaluation sees it: the same session, the same scheduler, the same text as in service."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from guideway.replica.backend import SLOTS, Backend, Logits
from guideway.replica.scheduler import Scheduler
from guideway.replica.text import stop_ids as model_stop_ids


class Scoring(Backend, Protocol):
    """A backend that scores whole sequences too."""

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after every token of a sequence."""


class Scorer:
    """The model in *folder* on the *backend* that serves it: scores of whole sequences, and greedy answers.

    ``context`` is in tokens, ``stop_ids`` are the tokens that end an answer.
    """

    def __init__(self, backend: Scoring, folder: Path) -> None:
        self._backend = backend
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


class OnnxScorer(Scorer):
    """The ONNX export in *folder*."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        from guideway.replica.onnx_backend import OnnxBackend

        super().__init__(OnnxBackend(folder, slots=SLOTS, threads=threads), folder)


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


class Rescorer(Protocol):
    """A backend that need not compute again what two sequences begin with alike."""

    def rescore(self, kept: int, ids: Sequence[int]) -> Logits:
        """The scores after each of *ids*, behind the first *kept* tokens of the last sequence scored."""


def log_probabilities(
    backend: Rescorer, prompts: Sequence[Sequence[int]], answer: Sequence[int]
) -> NDArray[np.float64]:
    """The log probability [prompts], in nats, of the same *answer* after each prompt; neither may be empty.

    In the order of their tokens each prompt shares the most with the one before it: the walk of a prefix tree.
    """
    found, before = np.empty(len(prompts)), list[int]()
    for at in sorted(range(len(prompts)), key=lambda at: list(prompts[at])):
        ids = [*prompts[at], *answer[:-1]]
        kept = _alike(before, ids, most=len(prompts[at]) - 1)
        found[at] = _log_probability(backend.rescore(kept, ids[kept:])[-len(answer) :], answer)
        before = ids
    return found


def _alike(one: Sequence[int], other: Sequence[int], most: int) -> int:
    """How many tokens both begin with, *most* at the most: the last token of a prompt predicts the answer."""
    pairs = enumerate(zip(one, other, strict=False))
    return min(most, next((at for at, (a, b) in pairs if a != b), min(len(one), len(other))))


def _log_probability(logits: Logits, answer: Sequence[int]) -> float:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    chosen = wide[np.arange(len(answer)), list(answer)]
    return float((chosen - np.log(np.exp(wide).sum(axis=-1))).sum())


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
