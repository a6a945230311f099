"""A fixed answer in the shape that was asked for, as if a model server had given it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from guideway.gateway.cache.stored import EVENTS, Stored
from guideway.gateway.request import Peek

_CHAT = b"/v1/chat/completions"
_NO_TOKENS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_encode = msgspec.json.encode

Shape = Callable[[int], dict[str, Any]]
"""What a choice with some number holds."""


def fixed_answer(path: bytes, wanted: Peek, text: str, *, id: str, created: int) -> Stored:
    """*text* as the answer to a request to *path*, whole or in events; it cost no tokens. *created* since 1970."""
    chat = path == _CHAT
    kind = "chat.completion" if chat else "text_completion"
    head = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{id}", "object": kind, "created": created, "model": wanted.model}
    if not wanted.stream:
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choices = _choices(wanted, {**said, "logprobs": None, "finish_reason": "stop"})
        body = _encode({**head, "choices": choices, "usage": _NO_TOKENS})
        return Stored(200, b"application/json", body, (0, 0), created)
    if chat:
        head["object"] = "chat.completion.chunk"
    events = b"".join(b"data: %b\n\n" % _encode(one) for one in _events(head, wanted, text, chat=chat))
    return Stored(200, EVENTS, events + b"data: [DONE]\n\n", (0, 0), created)


def _events(head: dict[str, Any], wanted: Peek, text: str, *, chat: bool) -> Iterator[dict[str, Any]]:
    said: dict[str, Any] = {"delta": {"role": "assistant", "content": text}} if chat else {"text": text}
    ends: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    yield {**head, "choices": _choices(wanted, {**said, "finish_reason": None})}
    yield {**head, "choices": _choices(wanted, {**ends, "finish_reason": "stop"})}
    if (wanted.stream_options or {}).get("include_usage"):
        yield {**head, "choices": [], "usage": _NO_TOKENS}


def _choices(wanted: Peek, fields: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"index": number, **fields} for number in range(wanted.n or 1)]
