"""The two models of a build behind one face: the trained one in torch, the compressed one in what serves it."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.compress.sizes import weights
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.formats import open_scorer
from guideway.pipeline.stages.threads import threads_for

Floats = npt.NDArray[np.floating[Any]]
AT_ONCE = 64
"""Prompts of one length that the trained model answers in one batch."""


class Model(Protocol):
    """What evaluation asks of a model."""

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""

    def logits(self, ids: Sequence[int]) -> Floats:
        """The logits after each of *ids*: a matrix of tokens by vocabulary."""

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]) -> list[list[int]]:
        """The greedy answer to every prompt, up to a stop token. Prompts leave room for it in the context."""


class Trained:
    """The model in a Hugging Face folder, run by torch: in float32, or in the *dtype* of what was made of it."""

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, dtype=getattr(torch, dtype)
        ).eval()
        torch.set_num_threads(threads_for(sum(weight.numel() for weight in self._model.parameters())))
        self._model.generation_config = (
            GenerationConfig()
        )  # a base may bring penalties that a plain greedy answer lacks

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""
        return int(getattr(self._model.config, "max_position_embeddings", 1 << 30))

    @torch.inference_mode()
    def logits(self, ids: Sequence[int]) -> Floats:
        """The logits after each of *ids*: a matrix of tokens by vocabulary."""
        logits: Floats = self._model(torch.tensor([list(ids)])).logits[0].float().numpy()
        return logits

    @torch.inference_mode()
    def hidden(self, ids: Sequence[int]) -> Floats:
        """The last hidden state of each of *ids*: a matrix of tokens by the width of the model."""
        states: Floats = self._model(torch.tensor([list(ids)]), output_hidden_states=True).hidden_states[-1][0].numpy()
        return states

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]) -> list[list[int]]:
        """The greedy answer to every prompt; prompts of one length go together, so nothing is padded."""
        alike: dict[int, list[int]] = defaultdict(list)
        for index, prompt in enumerate(prompts):
            alike[len(prompt)].append(index)
        found: list[list[int]] = [[] for _ in prompts]
        for indices in alike.values():
            for at in range(0, len(indices), AT_ONCE):
                chosen = indices[at : at + AT_ONCE]
                answers = self._greedy([prompts[index] for index in chosen], max_tokens, stop_ids)
                for index, answer in zip(chosen, answers, strict=True):
                    found[index] = list(itertools.takewhile(lambda token: token not in stop_ids, answer))
        return found

    @torch.inference_mode()
    def _greedy(self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]) -> list[list[int]]:
        ids = torch.tensor([list(prompt) for prompt in prompts])
        plan = GenerationConfig(
            max_new_tokens=max(1, min(max_tokens, self.context - ids.shape[1])),
            do_sample=False,
            eos_token_id=sorted(stop_ids),
            pad_token_id=min(stop_ids),
        )
        out = self._model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=plan)
        answers: list[list[int]] = out[:, ids.shape[1] :].tolist()
        return answers


class Compressed:
    """The export in *folder*, of whatever format, computed by what serves it."""

    def __init__(self, folder: Path) -> None:
        self._scorer = open_scorer(folder, threads_for(weights(folder)))

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""
        context: int = self._scorer.context
        return context

    def logits(self, ids: Sequence[int]) -> Floats:
        """The logits after each of *ids*: a matrix of tokens by vocabulary."""
        return self._scorer.logits(ids)

    def logits_from(self, ids: Sequence[int], start: int) -> Floats:
        """The rows of ``logits`` from *start* on."""
        return logits_from(self._scorer, ids, start)

    def answers(self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]) -> list[list[int]]:
        """The greedy answer to every prompt, by what serves it."""
        return self._scorer.generate_all(prompts, max_tokens, stop_ids)


def logits_from(model: Any, ids: Sequence[int], start: int) -> Floats:
    """The rows of ``model.logits(ids)`` from *start* on, and only these where it can compute them alone."""
    alone = getattr(model, "logits_from", None)
    found: Floats = alone(ids, start) if alone else model.logits(ids)[start:]
    return found


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
    logs = log_softmax(logits_from(model, example.ids[:-1], example.start - 1))
    return -logs[np.arange(example.predicted), example.ids[example.start :]]
