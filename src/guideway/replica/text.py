"""Text in, tokens, text out: tokenizer, chat template, pieces of text that never break a character, stop strings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError, SpecError
from guideway.kit.taken_out import Words
from guideway.replica.chat import ChatTemplateError, render_chat

__all__ = [
    "IDS_ONLY",
    "ChatTemplateError",
    "NotIds",
    "Reader",
    "StopStrings",
    "Text",
    "own_template",
    "render_chat",
    "stop_ids",
]

IDS_ONLY = "token_ids_only"
"""A key of tokenizer_config.json: the model came without a tokenizer, and its texts are numbers."""
PREFIX = 16
"""Tokens from which keeping a prefix is worth it."""
_OPENINGS = ("a", "Z", "7", " b", "\n", "\n\n", "{", "<", "-", '"', "é", "水")
"""Texts that have nothing in common: what their conversations share is not theirs."""
BROKEN = "\N{REPLACEMENT CHARACTER}"
"""What stands for bytes that are no character, or not yet: some tokenizers write one per byte, some one in all."""


class NotIds(GuidewayError):
    """A text was given to a model that came without a tokenizer."""


class Text:
    """The tokenizer in *folder* and the chat template that goes with it. Imports no model library.

    Args:
        folder: holds ``tokenizer.json``, and the files beside it that name special tokens.
        template: replaces the tokenizer's own chat template unless it is empty.

    Raises:
        SpecError: there is no tokenizer, or it cannot be read.
    """

    def __init__(self, folder: Path, template: str = "") -> None:
        self.tokenizer = _tokenizer(folder / "tokenizer.json")
        self.template = template or own_template(folder)
        self.special = _special_tokens(folder)
        self.stop_ids = stop_ids(folder)
        self.ids_only = bool(_json(folder / "tokenizer_config.json").get(IDS_ONLY))
        added = self.tokenizer.get_added_tokens_decoder().values()
        self._marks = tuple(token.content for token in added if token.special and token.content)
        self._words = Words(self._marks)
        self._longest = max((len(token) for token in self.tokenizer.get_vocab()), default=1)

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain text, with what the tokenizer puts around one; never empty if it has an end token.

        Raises:
            NotIds: the model has no tokenizer, and *text* is more than token ids.
        """
        if self.ids_only and any(self.tokenizer.token_to_id(word) is None for word in text.split()):
            raise NotIds(
                f"this model has no tokenizer: a text is token ids from 0 to {self.tokenizer.get_vocab_size() - 1}",
                try_this="send the token ids as a list",
            )
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids or self._end()

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], system: str = "", tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """Token ids of a conversation, up to where the assistant begins to speak.

        What people wrote cannot open or close a turn: the tokenizer's special tokens are taken out of it.

        Raises:
            ChatTemplateError: there is no chat template, or it refuses these messages.
        """
        ids: list[int] = self.tokenizer.encode(self.chat(messages, system, tools), add_special_tokens=False).ids
        return ids or self._end()

    def chat(
        self, messages: Sequence[Mapping[str, Any]], system: str = "", tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """The text that ``encode_chat`` reads, with special tokens only where the template writes them."""
        turns, offered = self._plain(list(messages)), self._plain(list(tools))
        return render_chat(self.template, turns, system, special=self.special, tools=offered)

    def prefix(self, system: str = "") -> list[int]:
        """The tokens that every conversation begins with that brings no system message; none if they are few.

        Only the template and *system* are in them: they end before what the user says begins.
        """
        try:
            chats = [self.encode_chat([{"role": "user", "content": text}], system) for text in _OPENINGS]
        except ChatTemplateError:
            return []
        same = 0
        while all(len(chat) > same and chat[same] == chats[0][same] for chat in chats):
            same += 1
        return chats[0][:same] if same >= PREFIX else []

    def writes(self, *marks: str) -> bool:
        """Does the template write *marks*, as text that can be read in an answer too?"""
        return all(mark in self.template and mark not in self._marks for mark in marks)

    def surely_longer(self, text: str, tokens: int) -> bool:
        """Does *text* certainly have more than *tokens* tokens? Cheap, so that nobody has to count a huge text."""
        return len(text) > tokens * self._longest

    def reader(self) -> Reader:
        """A new reader of one answer."""
        return Reader(self.tokenizer)

    def _end(self) -> list[int]:
        end = self.special.get("eos_token")
        id_ = self.tokenizer.token_to_id(end) if end else None
        return [] if id_ is None else [id_]

    def _plain(self, said: Any) -> Any:
        """*said* with all its texts free of special tokens."""
        if isinstance(said, Mapping):
            return {self._plain(key): self._plain(value) for key, value in said.items()}
        if isinstance(said, list):
            return [self._plain(one) for one in said]
        return self._words.out_of(said) if isinstance(said, str) else said


class Reader:
    """Turns the tokens of one answer into text, piece by piece; never half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._middle = 0
        self._shown = 0

    def push(self, token: int) -> str:
        """The text that *token* completes; often empty within a character of several tokens."""
        self._ids.append(token)
        text = self._decode(self._ids)
        piece = text[self._shown : len(text.rstrip(BROKEN))]
        self._shown += len(piece)
        if text and not text.endswith(BROKEN):
            # Keep a few tokens as context: some tokenizers write a token differently where a text begins.
            self._ids, self._middle = self._ids[self._middle :], len(self._ids) - self._middle
            self._shown = len(self._decode(self._ids))
        return piece

    def finish(self) -> str:
        """What was held back because a character was not complete."""
        text = self._decode(self._ids)
        piece, self._shown = text[self._shown :], len(text)
        return piece

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text


class StopStrings:
    """Lets text through up to the first stop string; what may be the beginning of one waits.

    The stop string that is complete first wins; of two complete at once, the longer. So the outcome does not
    depend on how the text is cut.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown now, and whether a stop string was reached."""
        if not self._stops:
            return text, False
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)[1]], True
        keep = max(overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], False

    def finish(self) -> str:
        """What waited in vain."""
        held, self._held = self._held, ""
        return held


def own_template(folder: Path) -> str:
    """The chat template that came with the tokenizer in *folder*; empty when there is none."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    found = _json(folder / "tokenizer_config.json").get("chat_template") or ""
    if isinstance(found, list):  # several under names
        found = {one["name"]: one["template"] for one in found}.get("default", "")
    return str(found)


def stop_ids(folder: Path) -> frozenset[int]:
    """The tokens that end an answer, from all files of a model folder that name some."""
    places = (
        _json(folder / "genai_config.json").get("model", {}),
        _json(folder / "generation_config.json"),
        _json(folder / "config.json"),
    )
    found: set[int] = set()
    for place in places:
        ids = place.get("eos_token_id")
        found.update(ids if isinstance(ids, list) else () if ids is None else (ids,))
    return frozenset(found)


def overlap(text: str, stop: str) -> int:
    """How many characters at the end of *text* may begin *stop*."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)


def _tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise SpecError("there is no tokenizer.json", where=str(path.parent))
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise SpecError(f"the tokenizer cannot be read: {error}", where=str(path)) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _special_tokens(folder: Path) -> dict[str, str]:
    """``bos_token``, ``eos_token`` and the like, as their text."""
    named = {key: value for key, value in _json(folder / "tokenizer_config.json").items() if key.endswith("_token")}
    texts = {key: value["content"] if isinstance(value, dict) else value for key, value in named.items()}
    return {key: text for key, text in texts.items() if isinstance(text, str)}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SpecError(f"not JSON: {error}", where=str(path)) from None
    return found if isinstance(found, dict) else {}
