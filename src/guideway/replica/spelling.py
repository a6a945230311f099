"""The bytes that each token of a tokenizer writes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from tokenizers import Tokenizer

from guideway.replica.constrain.masks import Tokens

_BYTE = re.compile(r"<0x([0-9A-F]{2})>").fullmatch


class Spelling:
    """What the tokens of *tokenizer* write; worked out when it is first needed, which takes a while."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, token: int) -> bytes:
        """The bytes of *token*; the name of one that writes no text."""
        spelled = self._spelled
        found = spelled[token] if spelled is not None and token < len(spelled) else None
        if found is not None:
            return found
        text = self._tokenizer.decode([token]) if spelled is None else ""
        return (text or self._tokenizer.id_to_token(token) or "").encode()

    @cached_property
    def tokens(self) -> Tokens | None:
        """What a constraint needs; None: with this tokenizer no form can be kept to."""
        tokens = None if self._spelled is None else Tokens(self._spelled)
        return tokens if tokens is not None and tokens.complete else None

    @cached_property
    def _spelled(self) -> list[bytes | None] | None:
        return spell(self._tokenizer)


def spell(tokenizer: Tokenizer) -> list[bytes | None] | None:
    """What each token writes, None for special ones; None in all: this kind of tokenizer has no fixed spelling."""
    kinds = set(_decoders(json.loads(tokenizer.to_str()).get("decoder")))
    if "ByteLevel" in kinds:
        return _all(tokenizer, _byte_level)
    if kinds & {"ByteFallback", "Metaspace"}:
        return _all(tokenizer, _pieces)
    return None


def _all(tokenizer: Tokenizer, spelling: Callable[[str], bytes]) -> list[bytes | None]:
    added = tokenizer.get_added_tokens_decoder()
    spelled: list[bytes | None] = [None] * (1 + max(tokenizer.get_vocab().values(), default=-1))
    for piece, token in tokenizer.get_vocab().items():
        spelled[token] = spelling(piece)
    for token, mark in added.items():
        spelled[token] = None if mark.special else mark.content.encode()
    return spelled


def _byte_level(piece: str) -> bytes:
    """Byte-level vocabularies write each byte as a letter that can be seen."""
    return b"".join(_LETTERS.get(letter) or letter.encode() for letter in piece)


def _pieces(piece: str) -> bytes:
    """SentencePiece writes a space as a low line, and a byte that is no character as its number."""
    found = _BYTE(piece)
    return bytes((int(found[1], 16),)) if found else piece.replace("▁", " ").encode()


def _letters() -> Iterator[tuple[str, bytes]]:
    unseen = 256
    for byte in range(256):
        seen = 0x21 <= byte <= 0x7E or (byte >= 0xA1 and byte != 0xAD)
        yield chr(byte if seen else unseen), bytes((byte,))
        unseen += not seen


_LETTERS = dict(_letters())


def _decoders(found: Any) -> Iterator[str]:
    """The kinds of all decoders, however they are nested."""
    if isinstance(found, dict):
        yield found.get("type", "")
        for inner in found.get("decoders", ()):
            yield from _decoders(inner)
