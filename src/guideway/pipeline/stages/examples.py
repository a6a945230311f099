"""From the rows of a data set to token ids: what is given, and what is to be predicted. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError
from guideway.replica.text import Text, stop_ids


class Example(NamedTuple):
    """One sequence. Tokens from ``start`` on are predicted; those before are given. ``0 < start <= len(ids)``."""

    ids: list[int]
    start: int

    @property
    def predicted(self) -> int:
        """How many tokens are predicted."""
        return len(self.ids) - self.start

    def clipped(self, context: int) -> Example:
        """This example in at most *context* + 1 tokens: a text loses its end, a conversation its beginning."""
        extra = len(self.ids) - context - 1
        if extra <= 0:
            return self
        if self.start == 1:
            return Example(self.ids[: context + 1], 1)
        return Example(self.ids[extra:], max(1, self.start - extra))


class Voice:
    """How rows become tokens, by the very code that serves: tokenizer, chat template and system prompt.

    Args:
        folder: a Hugging Face or ONNX folder with a tokenizer.
        template: replaces the tokenizer's own chat template unless it is empty.

    Raises:
        GuidewayError: the tokenizer names no end token.
    """

    def __init__(self, folder: Path, *, template: str = "", system: str = "") -> None:
        self.text, self.system = Text(folder, template), system
        self._plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._plain.no_truncation()
        self._plain.encode_special_tokens = True  # in data, what looks like a special token is only text
        self.end = self._token("eos_token")
        self.stop_ids = stop_ids(folder) | {self.end}
        self._begin = self._token("bos_token" if "bos_token" in self.text.special else "eos_token")

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return int(self._plain.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Token ids of *text*, nothing added."""
        if self.text.ids_only:
            return self.text.encode(text)
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of *ids* without special tokens."""
        text: str = self.text.tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def example(self, row: Mapping[str, Any]) -> Example:
        """The last answer of a conversation after all that went before; or a whole text, from its beginning."""
        if "text" in row:
            return Example([self._begin, *self.encode(row["text"]), self.end], 1)
        given = self.text.encode_chat(row["messages"][:-1], self.system)
        return Example([*given, *self.encode(row["messages"][-1]["content"]), self.end], len(given))

    def every_answer(self, row: Mapping[str, Any]) -> Iterator[Example]:
        """One example for each answer in a conversation."""
        for number, message in enumerate(row["messages"], 1):
            if message["role"] == "assistant":
                yield self.example({"messages": row["messages"][:number]})

    def _token(self, name: str) -> int:
        said = self.text.special.get(name, "")
        id_ = self._plain.token_to_id(said) if said else None
        if id_ is None:
            raise GuidewayError(f"the tokenizer names no {name}", try_this="set it in tokenizer_config.json")
        return int(id_)


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file that stage data wrote."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def texts_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Every piece of text in *rows*: what a tokenizer learns from."""
    for row in rows:
        if "text" in row:
            yield row["text"]
        for message in row.get("messages", ()):
            yield message["content"]
