"""A body of a request with placeholders for its personal data: in texts, in parts of one text, and in numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from guideway.privacy.mask import PLACEHOLDER, Blocked, Vault

_MODEL = "model"
_LIST_OF_PARTS = re.compile(rb'"content"\s*:\s*\[')
_STRING_OR_PLACEHOLDER = re.compile(r'"(?:[^"\\]|\\.)*"|' + PLACEHOLDER.pattern, re.DOTALL)
_SHORTEST, _LONGEST = 10**6, 10**20
"""Numbers in between have as many digits as a number of a person may have."""


def spoken(body: bytes) -> str:
    """Everything that *body* says, as its readers see it: each text and number is a part of what is returned.

    Bytes with escapes or with parts of texts are decoded; others say what they are.

    Raises:
        ValueError: it is not JSON.
    """
    if b"\\" not in body and (body.count(b"[") == 1 or _LIST_OF_PARTS.search(body) is None):
        return body.decode()
    return "\n".join(_said(msgspec.json.decode(body)))


def masked(body: bytes, vault: Vault) -> bytes:
    """*body* with every text masked, written anew: a reader who takes another of two equal keys finds only one.

    Raises:
        Blocked: something in it must not pass, or stands where no placeholder can.
        ValueError: it is not JSON.
    """
    request = msgspec.json.decode(body)
    if not isinstance(request, dict):
        return msgspec.json.encode(_changed(request, vault))
    _look_at_tensors(request.get("inputs"), vault)
    model = {_MODEL: request.pop(_MODEL)} if isinstance(request.get(_MODEL), str) else {}
    parameters = {name: value for name, value in request.items() if isinstance(value, int | float)}
    return msgspec.json.encode(model | _changed(request, vault) | parameters)


def _said(data: Any) -> list[str]:
    """Texts, names, numbers, and the texts that come in parts."""
    texts: list[str] = []
    rest = [data]
    while rest:
        one = rest.pop()
        if isinstance(one, str):
            texts.append(one)
        elif isinstance(one, list):
            rest.extend(one)
        elif isinstance(one, dict):
            texts.extend(one)
            rest.extend(one.values())
            content = one.get("content")
            if isinstance(content, list):
                texts.append("".join(_texts(content)))
        elif isinstance(one, int | float):
            texts.append(_digits(one))
    return texts


def _changed(value: Any, vault: Vault, name: str = "") -> Any:
    if isinstance(value, str):
        return _arguments(value, vault) if name == "arguments" else vault.mask(value)
    if isinstance(value, dict):
        return {vault.mask(key): _changed(part, vault, key) for key, part in value.items()}
    if isinstance(value, list):
        return _content(value, vault) if name == "content" else [_changed(part, vault) for part in value]
    return _number(value, vault) if isinstance(value, int | float) else value


def _content(parts: list[Any], vault: Vault) -> list[Any]:
    """Parts that a reader puts together."""
    texts = iter(vault.mask_parts(list(_texts(parts))))
    return [_part(part, texts, vault) for part in parts]


def _texts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            yield text


def _part(part: Any, texts: Iterator[str], vault: Vault) -> Any:
    if isinstance(part, str):
        return next(texts)
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        return _changed(part, vault)
    rest = {key: value for key, value in part.items() if key != "text"}
    return {**_changed(rest, vault), "text": next(texts)}


def _arguments(text: str, vault: Vault) -> str:
    """Arguments of a call are JSON inside a text, and stay JSON: a number that is masked becomes a text."""
    masked = vault.mask(text)
    if masked == text:
        return text
    return _STRING_OR_PLACEHOLDER.sub(lambda found: found[0] if found[0][0] == '"' else f'"{found[0]}"', masked)


def _number(value: float, vault: Vault) -> Any:
    """A number that is masked becomes a text."""
    text = _digits(value)
    masked = vault.mask(text) if text else ""
    return value if masked == text else masked


def _digits(value: float) -> str:
    """A whole number as a person would write it; nothing where it can be nobody's."""
    is_whole = isinstance(value, int) or value.is_integer()
    return str(int(value)) if is_whole and _SHORTEST <= abs(value) < _LONGEST else ""


def _look_at_tensors(inputs: Any, vault: Vault) -> None:
    """A tensor of numbers has no place for a text.

    Raises:
        Blocked: it has a number that would have to be masked.
    """
    rest = [one.get("data") for one in inputs if isinstance(one, dict)] if isinstance(inputs, list) else []
    texts = []
    while rest:
        one = rest.pop()
        if isinstance(one, list):
            rest.extend(one)
        elif isinstance(one, int | float):
            texts.append(_digits(one))
    text = "\n".join(filter(None, texts))
    if text and vault.mask(text) != text:
        raise Blocked(vault.kinds)
