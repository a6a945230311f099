"""The two models of a build behind one face: the trained one in torch, the compressed one in the replica."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.examples import Example
from guideway.replica.onnx_backend import OnnxBackend
from guideway.replica.score import generate_all

Floats = npt.NDArray[np.floating[Any]]
AT_ONCE = 64
"""Prompts of one length that the trained model answers in one batch."""


SLOTS = 16
"""Rows that the compressed model answers together."""


class Model(Protocol):
    """What evaluation asks of a model."""

    def logits(self, ids: Sequence[int]) -> Floats:
        """The logits after each of *ids*: a matrix of tokens by vocabulary."""

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int, end: int) -> list[list[int]]:
        """The greedy answer to every prompt, without the end token. Prompts leave room for it in the context."""


def threads() -> int:
    """As many threads as this process may use cores."""
    return len(os.sched_getaffinity(0))


class Trained:
    """The model in a Hugging Face folder, in float32, run by torch."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(threads())
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=torch.float32
        ).eval()

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""
        return int(getattr(self._model.config, "max_position_embeddings", 1 << 30))

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Floats:
        """The logits after each of *ids*: a matrix of tokens by vocabulary."""
        logits: Floats = self._model(torch.tensor([list(ids)])).logits[0].float().numpy()
        return logits

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int, end: int) -> list[list[int]]:
        """The greedy answer to every prompt; prompts of one length go together, so nothing is padded."""
        alike: dict[int, list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            alike[len(prompt)].append(index)
        found: list[list[int]] = [[] for _ in prompts]
        for indices in alike.values():
            for at in range(0, len(indices), AT_ONCE):
                chosen = indices[at : at + AT_ONCE]
                for index, answer in zip(chosen, self._greedy([prompts[i] for i in chosen], max_tokens), strict=True):
                    found[index] = answer[: answer.index(end)] if end in answer else answer
        return found

    @torch.inference_mode()
    def _greedy(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[list[int]]:
        ids, past, taken = torch.tensor([list(prompt) for prompt in prompts]), None, []
        for _ in range(min(max_tokens, self.context - ids.shape[1])):
            out = self._model(ids, past_key_values=past, use_cache=True)
            ids, past = out.logits[:, -1:].argmax(-1), out.past_key_values
            taken.append(ids)
        answers: list[list[int]] = torch.cat(taken, dim=1).tolist() if taken else [[] for _ in prompts]
        return answers


class Compressed:
    """The model in a folder of the ONNX Runtime GenAI builder, run by the replica that serves it."""

    def __init__(self, folder: Path) -> None:
        self._backend = OnnxBackend(folder, slots=SLOTS, threads=threads())

    def logits(self, ids: Sequence[int]) -> Floats:
        """The logits after each of *ids*: a matrix of tokens by vocabulary."""
        return self._backend.logits(ids)

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int, end: int) -> list[list[int]]:
        """The greedy answer to every prompt, by the scheduler that serves."""
        return generate_all(self._backend, prompts, max_tokens, {end})


def log_softmax(logits: Floats) -> npt.NDArray[np.float64]:
    """Log probabilities of each row of *logits*.

    Raises:
        GuidewayError: a logit is NaN or infinite, so that nothing measured on it would mean anything.
    """
    if not np.isfinite(logits).all():
        raise GuidewayError("the model gives logits that are NaN or infinite", try_this="a lower train.learning_rate")
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def losses(model: Model, example: Example) -> npt.NDArray[np.float64]:
    """The loss of each predicted token of *example*, in nats."""
    logs = log_softmax(model.logits(example.ids[:-1])[example.start - 1 :])
    return -logs[np.arange(example.predicted), example.ids[example.start :]]
