"""Prompts that come as numbers, which nobody here can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

_PROMPTS = ("prompt", "input")
_NEVER_TEXT = ("prompt_token_ids", "input_ids", "prompt_embeds", "input_embeds")
_FRACTIONS = frozenset({"FP16", "FP32", "FP64", "BF16"})


def has_tokens(body: Any) -> bool:
    """Does *body*, a decoded request of any path, have a prompt, or a part of one, that is no text?"""
    return field_of_tokens(body) is not None


def field_of_tokens(body: Any) -> str | None:
    """The first field of *body* with a prompt that is no text, by the name that the client gave it; None: all is text.

    A tensor of more than one whole number may be one, and one of fractions if its name speaks of tokens or ids.
    """
    if not isinstance(body, dict):
        return None
    given = [name for name in _NEVER_TEXT if body.get(name) is not None]
    given += [name for name in _PROMPTS if _is_read_by_none(body.get(name))]
    tensors = body.get("inputs")
    if any(_is_tokens(one) for one in (tensors if isinstance(tensors, list) else ()) if isinstance(one, dict)):
        given.append("inputs")
    return given[0] if given else None


def _is_read_by_none(prompt: Any) -> bool:
    """Is there a number in *prompt*, or something that stands for numbers?"""
    if isinstance(prompt, dict) and any(prompt.get(name) is not None for name in _NEVER_TEXT):
        return True
    return any(True for _ in _numbers(prompt))


def _is_tokens(tensor: Mapping[str, Any]) -> bool:
    many = len(list(islice(_numbers(tensor.get("data")), 2))) == 2
    name = str(tensor.get("name")).lower()
    return many and (tensor.get("datatype") not in _FRACTIONS or "token" in name or "ids" in name)


def _numbers(value: Any) -> Iterator[float]:
    rest = [value]
    while rest:
        one = rest.pop()
        if isinstance(one, list):
            rest.extend(one)
        elif isinstance(one, dict):
            rest.extend(one.values())
        elif isinstance(one, int | float) and not isinstance(one, bool):
            yield one
