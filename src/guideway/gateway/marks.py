"""Marks that begin and end a turn, taken out of what people write: for model servers that would obey them there.

Others take them out themselves. What rules and masking read must then be what is left: a word with a mark in its middle
is none that they know, and whole again where the model reads it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from guideway.kit.taken_out import Words

TEXTS = ("messages", "tools")
"""The fields of a conversation whose texts a chat template writes."""
_ready = lru_cache(maxsize=64)(Words)


class _Added(msgspec.Struct):
    content: str
    special: bool = False


class _Tokenizer(msgspec.Struct):
    added_tokens: list[_Added] = []


def marks_of(tokenizer: Path) -> tuple[str, ...]:
    """The special tokens of the file *tokenizer*, as text.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        added = msgspec.json.decode(tokenizer.read_bytes(), type=_Tokenizer).added_tokens
    except OSError as error:
        raise ValueError(f"the tokenizer cannot be read: {error.strerror}") from None
    return tuple(one.content for one in added if one.special and one.content)


def without_marks(marks: tuple[str, ...], body: bytes) -> bytes:
    """The JSON object *body* of a conversation with none of *marks* in any of its texts."""
    data = msgspec.json.decode(body)
    if not isinstance(data, dict):
        return body
    words = _ready(marks)
    clean = {name: _clean(words, data[name]) for name in TEXTS if name in data}
    return msgspec.json.encode(data | clean) if any(clean[name] != data[name] for name in clean) else body


def _clean(marks: Words, said: Any) -> Any:
    """*said* with all its texts, names included, free of *marks*."""
    if isinstance(said, dict):
        return {marks.out_of(name): _clean(marks, value) for name, value in said.items()}
    if isinstance(said, list):
        return [_clean(marks, one) for one in said]
    return marks.out_of(said) if isinstance(said, str) else said
