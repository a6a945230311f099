"""The GGUF export as evaluation sees it: llama.cpp's own server computes what is scored.

It tells scores of the token that comes next and of no other, so a sequence is given to it token by token: it keeps
what it has read, and computes each token once. All scores are asked for, not the first few of them.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError
from guideway.engines.llamacpp import SLOTS
from guideway.pipeline.stages.formats.gguf.server import Server
from guideway.replica.text import ChatTemplateError, Text

Floats = npt.NDArray[np.floating[Any]]
LEAST = -104.0
"""The log of the smallest number that float32 can hold: what is told of a token whose probability is none."""


HARD = (
    "it's 'sky', I'll say DON'T and we've 'told' them",
    "1234567 1,000.5 3x²½ v1.2.3",
    "  two  spaces\n\n\tand a tab \r\n\n   end  ",
    "`name`?! (a) {b}[c] -- ... <|end|> </s>",
    "水是蓝色的。 日本語、한국어 привет שלום",
    "cafe\u0301 naïve ﬁn \u00a0 👩\u200d💻 \ufeff",
)
"""Texts that tokenizers cut differently, if they can."""


CHAT = [
    {"role": "user", "content": "what is `a`?"},
    {"role": "assistant", "content": "it is b"},
    {"role": "user", "content": " and\n\nc? "},
]
"""A conversation that templates write in different ways, if they can."""


class _Score(msgspec.Struct, frozen=True, gc=False):
    id: int
    logprob: float


class _Next(msgspec.Struct, frozen=True):
    top_logprobs: list[_Score]


class _Scored(msgspec.Struct, frozen=True):
    completion_probabilities: list[_Next]


class _Said(msgspec.Struct, frozen=True):
    index: int
    tokens: list[int]


class _Written(msgspec.Struct, frozen=True):
    prompt: str


class _Cut(msgspec.Struct, frozen=True):
    tokens: list[int]


class GgufScorer:
    """The export in *folder*, run by ``llama-server``: scores of whole sequences, and greedy answers.

    Raises:
        Unavailable: it is not installed.
        GuidewayError: it cannot load the export, or reads text as other tokens than the model has learned.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._vocabulary, self.context = int(config["vocab_size"]), int(config["max_position_embeddings"])
        self._server = Server(folder, threads=threads, slots=SLOTS)
        self.close, self.pid = self._server.close, self._server.pid
        self._check_words(folder)

    def logits(self, ids: Sequence[int]) -> Floats:
        """The log probabilities after each of *ids*: a matrix of tokens by vocabulary."""
        return self.logits_from(ids, 0)

    def logits_from(self, ids: Sequence[int], start: int) -> Floats:
        """The rows of ``logits`` from *start* on: what goes before is read, and its scores are not told."""
        scores = np.full((len(ids) - start, self._vocabulary), LEAST, dtype=np.float32)
        for row, length in zip(scores, range(start + 1, len(ids) + 1), strict=True):
            for one in self._after(ids[:length]):
                row[one.id] = max(one.logprob, LEAST)
        return scores

    def generate_all(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, stop_ids: Collection[int]
    ) -> list[list[int]]:
        """The greedy answer to every prompt, as many at once as in service; the server knows by itself what ends one.

        Without *stop_ids* nothing does but their number.
        """
        found: list[list[int]] = []
        for at in range(0, len(prompts), SLOTS):
            found += self._answers(prompts[at : at + SLOTS], max_tokens, stop_ids)
        return found

    def tokens(self, text: str) -> list[int]:
        """The tokens that the server reads for *text*, in which nothing is special."""
        body = {"content": text, "add_special": False, "parse_special": False}
        return msgspec.json.decode(self._server.ask("/tokenize", body), type=_Cut).tokens

    def _check_words(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.encode_special_tokens = True
        for text in HARD:
            if self.tokens(text) != tokenizer.encode(text, add_special_tokens=False).ids:
                raise _other(f"reads {text!r} as other tokens than the model has learned")
        try:
            expected = Text(folder).encode_chat(CHAT)
        except ChatTemplateError:  # there is none, or it wants other turns
            return
        if self._tokens_of_chat() != expected:
            raise _other("writes a conversation in another way than the chat template says")

    def _tokens_of_chat(self) -> list[int]:
        """The tokens that the server reads for ``CHAT``, by the template in the export."""
        prompt = msgspec.json.decode(self._server.ask("/apply-template", {"messages": CHAT}), type=_Written).prompt
        body = {"content": prompt, "add_special": True, "parse_special": True}
        return msgspec.json.decode(self._server.ask("/tokenize", body), type=_Cut).tokens

    def _after(self, ids: Sequence[int]) -> list[_Score]:
        """The scores of the whole vocabulary after *ids*."""
        body = _greedy(ids, 1) | {"n_probs": self._vocabulary, "cache_prompt": True, "id_slot": 0}
        return (
            msgspec.json.decode(self._server.ask("/completion", body), type=_Scored)
            .completion_probabilities[0]
            .top_logprobs
        )

    def _answers(self, prompts: Sequence[Sequence[int]], most: int, stop_ids: Collection[int]) -> list[list[int]]:
        body = _greedy([list(prompt) for prompt in prompts], most) | {"return_tokens": True, "ignore_eos": not stop_ids}
        said = self._server.ask("/completion", body)
        if len(prompts) == 1:
            each = [msgspec.json.decode(said, type=_Said)]
        else:
            each = sorted(msgspec.json.decode(said, type=list[_Said]), key=lambda one: one.index)
        return [list(itertools.takewhile(lambda token: token not in stop_ids, one.tokens)) for one in each]


def _greedy(prompt: Any, most: int) -> dict[str, Any]:
    return {"prompt": prompt, "n_predict": most, "temperature": 0.0, "cache_prompt": False}


def _other(what: str) -> GuidewayError:
    return GuidewayError(
        f"llama.cpp {what}", where="serve.engine", try_this="a base whose tokenizer it knows, or engine: onnx"
    )
