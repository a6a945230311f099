"""The texts of prompts and answers, as far as tokens are counted by them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec

FOLD_BYTES = 64 * 1024
_SPOKEN = ("content", "refusal", "reasoning_content", "reasoning")


class Said:
    """An answer as far as it came, whole or in events: what has piled up is cut down to its texts now and then."""

    __slots__ = ("_parts", "_size", "_texts")

    def __init__(self, body: bytes = b"") -> None:
        self._parts, self._size = [body], len(body)
        self._texts: defaultdict[int, list[str]] = defaultdict(list)

    def add(self, events: bytes) -> None:
        """Further whole *events*."""
        self._parts.append(events)
        self._size += len(events)
        if self._size > FOLD_BYTES:
            self._fold()

    @property
    def size(self) -> int:
        """Bytes that are held beside the texts."""
        return self._size

    def texts(self) -> list[str]:
        """The texts, one for each choice; pieces of one are put together."""
        self._fold()
        return ["".join(pieces) for pieces in self._texts.values()]

    def _fold(self) -> None:
        said, self._parts, self._size = b"".join(self._parts), [], 0
        for piece in _pieces(said):
            choices = piece.get("choices") if isinstance(piece, dict) else None
            for number, choice in enumerate(choices if isinstance(choices, list) else []):
                if isinstance(choice, dict):
                    index = choice.get("index")
                    self._texts[index if isinstance(index, int) else number] += _texts_of(choice)


def texts_of_prompt(body: bytes) -> tuple[list[str], int] | None:
    """The texts of the prompt in a request's *body*, and how many of its tokens came as numbers. None: it has none."""
    asked = _read(body)
    if not isinstance(asked, dict):
        return None
    if isinstance(asked.get("messages"), list):
        return [text for message in asked["messages"] for text in _said_in(message)], 0
    prompt = asked.get("prompt", asked.get("input"))
    if isinstance(prompt, str):
        return [prompt], 0
    if not isinstance(prompt, list):
        return None
    flat = [one for part in prompt for one in (part if isinstance(part, list) else [part])]
    return [one for one in flat if isinstance(one, str)], sum(1 for one in flat if isinstance(one, int))


def _texts_of(choice: dict[str, Any]) -> list[str]:
    if isinstance(choice.get("text"), str):
        return [choice["text"]]
    return _said_in(choice.get("message") or choice.get("delta"))


def _pieces(said: bytes) -> Iterator[Any]:
    if not said.lstrip().startswith(b"data:"):
        yield _read(said)
        return
    for line in said.splitlines():
        if line.startswith(b"data:"):
            yield _read(line[5:])


def _said_in(message: Any) -> list[str]:
    """All texts of one message, or of a piece of one."""
    if not isinstance(message, dict):
        return []
    found = [message[name] for name in _SPOKEN if isinstance(message.get(name), str)]
    if isinstance(message.get("content"), list):
        parts = [part.get("text") for part in message["content"] if isinstance(part, dict)]
        found += [text for text in parts if isinstance(text, str)]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            found += [text for text in (function.get("name"), function.get("arguments")) if isinstance(text, str)]
    return found


def _read(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
