"""What a request says: its texts, who wrote them, and everything else of it that a model may read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from guideway.gateway.guard.tokens import has_tokens
from guideway.gateway.names import KNOWN
from guideway.guardrails.said import Said

DEPTH = 64

_PROMPTS = ("prompt", "suffix", "input", "parameters", "instructions", "tools", "functions", "documents", "prediction")
_TOLD = ("suffix", "parameters", "instructions", "chat_template", "chat_template_kwargs")
_GIVEN = ("documents", "prediction")
_UNREAD = frozenset(
    {*_PROMPTS, "messages", "inputs", "model", "user", "metadata", "id", "request_id", "service_tier"}
    | {"prompt_cache_key", "outputs", "logit_bias"}
)
"""Fields that are read as prompts, or by no model."""
_INSTRUCTIONS = frozenset({"system", "developer"})
_ANSWERS = frozenset({"assistant", "tool", "function"})
_DATA = frozenset({"image_url", "input_audio", "audio", "video_url"})
"""Parts of a message that are data, which lie under these names."""
_ADDRESSES = frozenset({"url", "data"})
_LABELS = frozenset({"name", "datatype", "shape"})
"""What of a tensor only the server reads."""
_WORDS = """
additionalProperties anyOf array arguments assistant auto base64 boolean custom default description developer enabled
enum float format function high include_usage integer items json_object json_schema low medium minimal none null number
object properties required schema strict string system tool url
"""
_API = KNOWN | frozenset(_WORDS.split())
"""Names, roles and wishes that are the API's own, and say nothing."""


def said(body: Mapping[str, Any]) -> Said:
    """The texts of *body*, whatever its path is: what one server ignores, another reads.

    Raises:
        ValueError: it is nested too deeply.
    """
    texts, aside = _all_of(body)
    messages = _objects(body.get("messages"))
    return Said(
        texts,
        aside,
        tuple(filter(None, (_contents(messages, _INSTRUCTIONS | _ANSWERS, but=True), *_prompts(body)))),
        (*_contents(messages, _INSTRUCTIONS), *_under(body, _TOLD)),
        (*_contents(messages, _ANSWERS), *_under(body, _GIVEN)),
        has_tokens(body),
    )


def _all_of(body: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts of prompts, and everything else that a model may read."""
    texts: list[str] = []
    aside: list[str] = []
    for message in _listed(body.get("messages")):
        _read(_without_data(message), texts, aside)
        if isinstance(message, dict):
            aside += _together(message.get("content"))
    for tensor in _listed(body.get("inputs")):
        _read(_unlabelled(tensor), texts, aside)
    for name in _PROMPTS:
        _read(body.get(name), texts, aside)
    for name in body.keys() - _UNREAD:
        _read({name: body[name]}, aside, aside)
    return tuple(texts), tuple(one for one in aside if one not in _API)


def _prompts(body: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What is asked without messages. Prompts of a list are answered one by one."""
    for prompt in _listed(body.get("prompt")):
        yield _strings(prompt)
    yield _strings(body.get("input"))
    yield _strings([tensor.get("data") for tensor in _objects(body.get("inputs"))])


def _contents(messages: list[Mapping[str, Any]], roles: frozenset[str], *, but: bool = False) -> tuple[str, ...]:
    """The texts of messages of *roles*, or of all *but* these; those that come in parts also put together."""
    contents = [_without_data(one).get("content") for one in messages if (one.get("role") in roles) is not but]
    return tuple(text for one in contents for text in (*_strings(one), *_together(one)))


def _together(content: Any) -> tuple[str, ...]:
    """The texts of the parts of one message, as servers put them together."""
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    found = [text for text in texts if isinstance(text, str)]
    return ("".join(found), "\n".join(found)) if len(found) > 1 else ()


def _under(body: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for name in names for text in _strings(body.get(name)))


def _strings(value: Any) -> tuple[str, ...]:
    texts: list[str] = []
    _read(value, texts, [])
    return tuple(texts)


def _read(value: Any, texts: list[str], aside: list[str], depth: int = 0) -> None:
    """Put the strings of *value* to *texts*; names, roles and types to *aside*."""
    if depth > DEPTH:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, list):
        for one in value:
            _read(one, texts, aside, depth + 1)
    elif isinstance(value, dict):
        aside.extend(value)
        for name, one in value.items():
            is_word = name in {"role", "type"} and isinstance(one, str)
            _read(one, aside if is_word else texts, aside, depth + 1)


def _without_data(message: Any) -> Any:
    """A message without the bytes and addresses of pictures and sounds."""
    content = message.get("content") if isinstance(message, dict) else None
    return {**message, "content": list(map(_shown, content))} if isinstance(content, list) else message


def _shown(part: Any) -> Any:
    """What of a part of a message is no data."""
    if not isinstance(part, dict) or not part.keys() & _DATA:
        return part
    kept = {}
    for name, value in part.items():
        if name in _DATA and isinstance(value, dict):
            kept[name] = {key: one for key, one in value.items() if key not in _ADDRESSES or not isinstance(one, str)}
        elif name not in _DATA or not isinstance(value, str):
            kept[name] = value
    return kept


def _unlabelled(tensor: Any) -> Any:
    """A tensor without what only the server reads."""
    return {name: one for name, one in tensor.items() if name not in _LABELS} if isinstance(tensor, dict) else tensor


def _listed(value: Any) -> list[Any]:
    """*value* if it is a list, else the only one of a list; none where it is nothing."""
    return value if isinstance(value, list) else [] if value is None else [value]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in _listed(value) if isinstance(one, dict)]
