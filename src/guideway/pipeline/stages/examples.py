"""From the rows of a data set to token ids: what is given, and what is to be predicted. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError
from guideway.replica.text import render_chat


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


class Voice(NamedTuple):
    """How rows become tokens: tokenizer, chat template, the id that ends an answer, and the system prompt."""

    tokenizer: Tokenizer
    template: str
    end: int
    system: str = ""

    @classmethod
    def of(cls, folder: Path, *, template: str = "", system: str = "") -> Voice:
        """The voice of the Hugging Face or ONNX *folder*; *template* replaces its own chat template.

        Raises:
            GuidewayError: no end token is named in ``tokenizer_config.json``.
        """
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        named = config.get("eos_token")
        end = tokenizer.token_to_id(named["content"] if isinstance(named, dict) else named or "")
        if end is None:
            raise GuidewayError("the tokenizer names no end token", where=str(folder / "tokenizer_config.json"))
        return cls(tokenizer, template or own_template(folder, config), end, system)

    def encode(self, text: str) -> list[int]:
        """Token ids of *text*, nothing added."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """Token ids of a conversation, up to where the assistant begins to answer."""
        text = render_chat(self.template, messages, system=self.system, add_generation_prompt=True)
        return self.encode(text) or [self.end]

    def example(self, row: Mapping[str, Any]) -> Example:
        """The last answer of a conversation after all that went before; or a whole text, which begins after an end."""
        if "text" in row:
            return Example([self.end, *self.encode(row["text"]), self.end], 1)
        given = self.prompt(row["messages"][:-1])
        return Example([*given, *self.encode(row["messages"][-1]["content"]), self.end], len(given))

    def every_answer(self, row: Mapping[str, Any]) -> Iterator[Example]:
        """One example for each answer in a conversation; the one text of a text row."""
        turns = row.get("messages", ())
        for number, message in enumerate(turns, 1):
            if message["role"] == "assistant":
                yield self.example({"messages": turns[:number]})
        if not turns:
            yield self.example(row)


def own_template(folder: Path, config: Mapping[str, Any]) -> str:
    """The chat template that came with a tokenizer; empty when there is none."""
    path = folder / "chat_template.jinja"
    said = path.read_text(encoding="utf-8") if path.is_file() else config.get("chat_template")
    return said if isinstance(said, str) else ""


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
