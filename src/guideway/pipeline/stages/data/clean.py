"""Clean rows: pure functions from what was read to what is kept."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from guideway.core.artifact import canonical_json
from guideway.core.spec import Data

ROLES = ("system", "user", "assistant")
LONGEST_LABEL = 200
"""Characters of a label; a longer one is a text that got into the wrong field."""
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
_LINE_END = re.compile("\r\n?|\u2028|\u2029|\x85")
_TRAILING = re.compile(r"[^\S\n]+(?=\n|\Z)")


class Message(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: str
    content: str


class Row(msgspec.Struct, frozen=True):
    """One row of the data set: a conversation or a text, perhaps with a label, and the fields that came with it.

    ``id`` is the digest of the content, so the same content has the same id in every data set.
    """

    id: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    label: str = ""
    fields: dict[str, Any] = {}

    @property
    def prompt(self) -> str:
        """What comes before the answer; for a text, all of it."""
        return "\n".join(message.content for message in self.messages[:-1]) if self.messages else self.text

    @property
    def response(self) -> str:
        """The last answer, or the label; empty for a text."""
        return self.messages[-1].content if self.messages else self.label

    def content(self) -> dict[str, Any]:
        """What is written of it, beside its id and its fields."""
        if self.messages:
            return {"messages": self.messages}
        return {"text": self.text, "label": self.label} if self.label else {"text": self.text}


class Unusable(Exception):
    """This row cannot be used; the message says why."""


class Empty(Exception):
    """This row says nothing."""


def clean_text(text: str) -> str:
    """*text* in Unicode NFC, lines ended by a line feed, no control characters, no space at the end of a line."""
    text = unicodedata.normalize("NFC", _UNWANTED.sub("", _LINE_END.sub("\n", text)))
    return _TRAILING.sub("", text).strip("\n")


def clean_row(fields: Mapping[str, Any], data: Data, task: str) -> Row:
    """The row in *fields*, cleaned. For ``embed`` it is a pair, or a text with a label where no field is of a pair.

    Raises:
        Unusable: a field is missing or is no text, or there is no label.
        Empty: nothing is left of a field that must say something.
    """
    if task == "completion":
        text = _text_of(fields, data.text)
        return Row(_id(text), text=text, fields=_others(fields, (data.text,)))
    if task == "classify":
        text, label = _text_of(fields, data.text).strip(), _label_of(fields, data.label)
        return Row(_id([text, label]), text=text, label=label, fields=_others(fields, (data.text, data.label)))
    if task == "embed" and not {data.prompt, data.response, "messages"} & fields.keys():
        return clean_row(fields, data, "classify")
    messages = _messages(fields["messages"]) if "messages" in fields else _pair(fields, data)
    own = ("messages",) if "messages" in fields else (data.prompt, data.response)
    return Row(_id([[one.role, one.content] for one in messages]), messages=messages, fields=_others(fields, own))


def same(text: str) -> str:
    """*text* as it is compared: letter case and the amount of white space do not matter."""
    return " ".join(text.split()).casefold()


def fingerprint(text: str) -> bytes:
    """Sixteen bytes that stand for *text*."""
    return hashlib.sha256(text.encode()).digest()[:16]


def _pair(fields: Mapping[str, Any], data: Data) -> tuple[Message, ...]:
    return (
        Message("user", _text_of(fields, data.prompt).strip()),
        Message("assistant", _text_of(fields, data.response).strip()),
    )


def _text_of(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        raise Unusable(f"no field '{name}'")
    return _cleaned(fields[name], f"field '{name}'")


def _label_of(fields: Mapping[str, Any], name: str) -> str:
    """A label is a short text; a whole number or a truth value is written as JSON writes it."""
    value = fields.get(name)
    label = json.dumps(value) if isinstance(value, int) else value
    if label is None or (isinstance(label, str) and not label.strip()):
        raise Unusable(f"no label in the field '{name}'")
    if not isinstance(label, str):
        raise Unusable(f"field '{name}' is no label")
    label = " ".join(clean_text(label).split())
    if not 0 < len(label) <= LONGEST_LABEL:
        raise Unusable(f"field '{name}' is no label: it has {len(label)} characters")
    return label


def _cleaned(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise Unusable(f"{what} is no text")
    text = clean_text(value)
    if not text.strip():
        raise Empty(what)
    return text


def _messages(value: object) -> tuple[Message, ...]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise Unusable("'messages' is no list of objects")
    messages = []
    for number, one in enumerate(value, 1):
        if one.get("role") not in ROLES:
            raise Unusable(f"message {number}: role {one.get('role')!r:.40} is none of {', '.join(ROLES)}")
        messages.append(Message(one["role"], _cleaned(one.get("content"), f"message {number}: content").strip()))
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise Unusable("'messages' does not end with an answer of the assistant")
    return tuple(messages)


def _others(fields: Mapping[str, Any], own: tuple[str, ...]) -> dict[str, Any]:
    """The fields that are not the content; text in them is cleaned too, because it must be written as UTF-8."""
    return {_plain(name): _plain(value) for name, value in fields.items() if name not in own}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {_plain(name): _plain(one) for name, one in value.items()}
    return value


def _id(content: object) -> str:
    return hashlib.sha256(canonical_json(content)).hexdigest()
