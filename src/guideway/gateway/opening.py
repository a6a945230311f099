"""How an answer begins and how it ends, as far as a rollout asks. What came is kept, and read when all is over."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from guideway.gateway.refusal import refuses
from guideway.gateway.script import LOOKED_AT, in_other_script
from guideway.gateway.usage import Choice, Told

if TYPE_CHECKING:
    from guideway.gateway.record import Record

KEPT_BYTES = 12 * 1024
"""Of a stream: some fifty events."""
READ_BYTES = 64 * 1024
"""Of a prompt, or of an answer in an unusual form: a longer one is not looked at."""
FILTERED = "content_filter"

_ENDS = re.compile(rb'"finish_reason" ?: ?"').search


class Beginning(NamedTuple):
    """The first characters of an answer's first choice; ``refusal``: it has a field that says so; and how it ended."""

    text: str = ""
    refusal: bool = False
    finish: str = ""


class Manner(NamedTuple):
    """How it ended, whether it refuses, and whether it is in another script than its prompt."""

    finish: str = ""
    refused: bool = False
    other_language: bool | None = None


class Opening:
    """An answer as far as it came, whole or in events; only the beginning is kept."""

    __slots__ = ("_parts", "_size")

    def __init__(self, body: bytes = b"") -> None:
        self._parts, self._size = ([body] if body else []), len(body)

    def add(self, events: bytes) -> bool:
        """Further whole *events*; False: no more are wanted."""
        self._parts.append(events[:KEPT_BYTES])
        self._size += len(self._parts[-1])
        return self._size < KEPT_BYTES

    def read(self) -> Beginning:
        """What it says."""
        data = b"".join(self._parts)
        if not data.lstrip().startswith(b"data:"):
            choice = _first(data, whole=True)
            return _beginning(choice.message or _NO_WORDS, choice) if choice is not None else Beginning()
        text, refusal = "", False
        for line in data.splitlines():
            choice = _first(line[5:]) if line.startswith(b"data:") else None
            if choice is None:
                continue
            piece = _beginning(choice.delta or _NO_WORDS, choice)
            text, refusal = text + piece.text, refusal or piece.refusal
            if len(text) >= LOOKED_AT:
                break
        return Beginning(text[:LOOKED_AT], refusal)


class _Words(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    message: _Words | None = None
    delta: _Words | None = None
    text: Any = None
    finish_reason: Any = None


class _Piece(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None


class _Turn(msgspec.Struct, gc=False):
    role: Any = None
    content: Any = None


class _Asked(msgspec.Struct, gc=False):
    messages: list[_Turn] | None = None
    prompt: Any = None


_NO_WORDS = _Words()
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(_Piece).decode
_decode_asked = msgspec.json.Decoder(_Asked).decode


def note(record: Record, told: Told | None, body: bytes) -> None:
    """Note in *record*, that of a unit, how its whole answer *body*, of which *told* was read, begins and ended."""
    if told is not None and told.choices:
        record.finish = told.choices[0].finish_reason or ""
        record.opening = _beginning_of(told.choices[0])
    elif len(body) <= READ_BYTES:
        record.opening = Opening(body)


def _beginning_of(choice: Choice) -> Beginning:
    message = choice.message
    if message is None:
        return Beginning((choice.text or "")[:LOOKED_AT])
    return Beginning((message.content or "")[:LOOKED_AT], bool(message.refusal))


def finish_of(events: bytes) -> str:
    """Why the first choice ended, if *events*, which are whole, say so; else empty."""
    if _ENDS(events) is None:
        return ""
    for line in events.splitlines():
        choice = _first(line[5:]) if line.startswith(b"data:") and _ENDS(line) is not None else None
        if choice is not None and choice.finish_reason:
            return _word(choice.finish_reason)
    return ""


def manner(opening: Opening | Beginning, finish: str, asked: bytes) -> Manner:
    """What is told of an answer with this *opening* and *finish* to the body *asked*."""
    begun = opening.read() if isinstance(opening, Opening) else opening
    finish = finish or begun.finish
    refused = begun.refusal or finish == FILTERED or refuses(begun.text)
    other = in_other_script(words_of(asked), begun.text) if begun.text and asked else None
    return Manner(finish, refused, other)


def words_of(asked: bytes) -> str:
    """The beginning of what the last user says in the body of a request, or of its prompt; empty: nothing is known."""
    try:
        found = _decode_asked(asked)
    except _UNREADABLE:
        return ""
    said = [turn.content for turn in found.messages or () if turn.role == "user"]
    prompt = found.prompt
    return _text(said[-1] if said else prompt[0] if isinstance(prompt, list) and prompt else prompt)[:LOOKED_AT]


def _first(data: bytes, *, whole: bool = False) -> _Choice | None:
    """The first choice in *data*; of a piece of a stream only one that says that it is the first."""
    try:
        choices = _decode(data).choices
    except _UNREADABLE:
        return None
    return next((one for one in choices or () if whole or not one.index), None)


def _beginning(words: _Words, choice: _Choice) -> Beginning:
    text = choice.text if isinstance(choice.text, str) else _text(words.content)
    return Beginning(text[:LOOKED_AT], bool(words.refusal), _word(choice.finish_reason))


def _text(content: Any) -> str:
    """The text of a message, of which parts may be something else."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(part for part in parts if isinstance(part, str))


def _word(value: Any) -> str:
    """A reason as a replica gave it, which may be anything."""
    return value[:32] if isinstance(value, str) else ""
