"""The reference: a Hugging Face folder run by transformers, one row at a time. Correct rather than fast."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache
from transformers.models.llama import modeling_llama as _warm  # noqa: F401 - loaded once before a fork, not after
from transformers.utils.logging import disable_progress_bar

from guideway.core.errors import SpecError
from guideway.replica.backend import SLOTS, Logits


class TorchBackend:
    """The model in *folder* in float32, from safetensors alone; code in the folder is never run.

    Raises:
        SpecError: the folder does not hold a model that transformers knows.
    """

    def __init__(self, folder: Path, *, slots: int = SLOTS, threads: int = 1, context: int | None = None) -> None:
        torch.set_num_threads(threads)
        self._model = _load(folder)
        longest = int(getattr(self._model.config, "max_position_embeddings", 2048))
        self.slots, self.context = slots, min(context or longest, longest)
        self.vocabulary = int(self._model.config.vocab_size)
        self._rows: list[Any] = []
        self._begun: Any = None
        self._learned: Any = None
        self._scored: Any = None
        parameters = inspect.signature(self._model.forward).parameters
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"  # the older of its two names

    def learn(self, ids: Sequence[int]) -> None:
        """Keep what reading *ids* gives, for ``recall``."""
        self._learned = DynamicCache(config=self._model.config)
        self._run(list(ids), self._learned, keep=1)

    def recall(self) -> None:
        """Begin the prompt that is to join next with what was learned."""
        self._begun = copy.deepcopy(self._learned)

    def read(self, ids: Sequence[int]) -> None:
        """Read a piece of the prompt that is to join next."""
        if self._begun is None:
            self._begun = DynamicCache(config=self._model.config)
        self._run(list(ids), self._begun, keep=1)

    def forget(self) -> None:
        """Drop what was read and has not joined."""
        self._begun = None

    def join(self, ids: Sequence[int]) -> Logits:
        """Read the end of a prompt and make it the last row; the scores [vocabulary] of its next token."""
        cache, self._begun = self._begun, None
        if cache is None:
            cache = DynamicCache(config=self._model.config)
        scores = self._run(list(ids), cache, keep=1)
        self._rows.append(cache)
        last: Logits = scores[-1]
        return last

    def step(self, ids: Sequence[int]) -> Logits:
        """Append ``ids[row]`` to every row; the scores [rows, vocabulary] of the next tokens."""
        rows = zip(ids, self._rows, strict=True)
        return np.stack([self._run([token], cache, keep=1)[0] for token, cache in rows])

    def leave(self, row: int) -> None:
        """Free *row*; the last row takes its number."""
        last = self._rows.pop()
        if row < len(self._rows):
            self._rows[row] = last

    def reset(self) -> None:
        """Free all rows and drop what was read."""
        self._rows.clear()
        self._begun = None

    def logits(self, ids: Sequence[int]) -> Logits:
        """The scores [len(ids), vocabulary] after every token of a sequence.

        Raises:
            ValueError: the sequence is empty or longer than the context.
        """
        return self.rescore(0, ids)

    def rescore(self, kept: int, ids: Sequence[int]) -> Logits:
        """The same for a sequence that is the first *kept* tokens of the last one scored, and then *ids*.

        Raises:
            ValueError: there are no *ids*, or with them the sequence is longer than the context.
        """
        if not 0 < len(ids) <= self.context - kept:
            raise ValueError(f"a sequence of {kept} + {len(ids)} tokens; the context holds {self.context}")
        if kept == 0:
            self._scored = DynamicCache(config=self._model.config)
        elif extra := self._scored.get_seq_length() - kept:
            self._scored.crop(-extra)
        return self._run(list(ids), self._scored, keep=0)

    @torch.inference_mode()
    def _run(self, ids: list[int], cache: Any, *, keep: int) -> Logits:
        """The scores of the last *keep* tokens of *ids* after what *cache* holds; 0 keeps all."""
        kept = {self._cache_name: cache, "use_cache": True, "logits_to_keep": keep}
        out = self._model(torch.tensor([ids]), **kept)
        scores: Logits = out.logits[0].float().numpy()
        return scores


def _load(folder: Path) -> Any:
    disable_progress_bar()  # the log of a replica is no terminal
    closed: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **closed)
        model = AutoModelForCausalLM.from_pretrained(
            folder, config=config, use_safetensors=True, dtype=torch.float32, **closed
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:200]
        raise SpecError(f"transformers cannot load the model: {reason}", where=str(folder)) from None
    return model.eval()
