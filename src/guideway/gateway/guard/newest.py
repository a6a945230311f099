"""What is asked now: the newest words of the user, without what was said before and by others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_OTHERS = frozenset({"assistant", "developer", "function", "system", "tool"})


def newest(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of *body*, a decoded request of any path, that are answered; one each for prompts of a list.

    Of a conversation it is the last message that no model, tool or instruction wrote; its parts are put together.
    """
    messages = body.get("messages")
    if isinstance(messages, list):
        said = (one.get("content") for one in reversed(messages) if isinstance(one, dict) and _asks(one))
        text = _joined(next(said, None))
        return () if text is None else (text,)
    return tuple(text for value in _prompts(body) for text in _each(value))


def _asks(message: Mapping[str, Any]) -> bool:
    role = message.get("role")
    return not isinstance(role, str) or role not in _OTHERS


def _joined(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(part for part in parts if isinstance(part, str))


def _prompts(body: Mapping[str, Any]) -> Iterator[Any]:
    yield body.get("prompt")
    yield body.get("input")
    tensors = body.get("inputs")
    for tensor in tensors if isinstance(tensors, list) else ():
        yield tensor.get("data") if isinstance(tensor, dict) else None


def _each(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
