"""What an answer looks like in the OpenAI API, whole or in events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from guideway.replica.logprobs import Mark, Spell, chat_logprobs, text_logprobs
from guideway.replica.tools import told

DONE = b"data: [DONE]\n\n"


class Head(msgspec.Struct, frozen=True):
    """What all pieces of one answer have in common.

    ``chat`` tells the two kinds apart. ``spell`` is there when log-probabilities are told. ``call`` is the id of a
    function call, if the answer is one. ``prompt_ids`` is there when the answer is also told in token ids.
    """

    id: str
    created: int
    model: str
    chat: bool
    spell: Spell | None = None
    call: str = ""
    prompt_ids: tuple[int, ...] | None = None

    def whole(
        self,
        text: str,
        finish: str,
        usage: Mapping[str, int],
        marks: Sequence[Mark],
        called: tuple[str, str] | None = None,
    ) -> bytes:
        """The answer as one JSON object; *called* is the function that it calls, and the arguments."""
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if called is not None:
            message |= {"content": text or None, "tool_calls": [told(self.call, *called)]}
        said = {"message": message} if self.chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": self._logprobs(marks), "finish_reason": finish}
        choice |= self._ids(marks, first=True)
        kind = "chat.completion" if self.chat else "text_completion"
        return msgspec.json.encode({**self._common(kind), "choices": [choice], "usage": usage})

    def piece(self, text: str, finish: str | None = None, *, first: bool = False, marks: Sequence[Mark] = ()) -> bytes:
        """One event of a stream."""
        if not self.chat:
            return self._event([self._choice({"text": text}, finish, marks, first=first)])
        delta: dict[str, Any] = {"role": "assistant"} if first else {}
        if text or first:
            delta["content"] = text
        return self._event([self._choice({"delta": delta}, finish, marks, first=first)])

    def call_piece(self, text: str, arguments: str, *, name: str | None, first: bool, marks: Sequence[Mark]) -> bytes:
        """One event of a stream that may be a call; *name* is told once, with the first arguments."""
        delta: dict[str, Any] = {"role": "assistant", "content": text or None} if first else {}
        if text:
            delta["content"] = text
        if name is not None or arguments:
            delta["tool_calls"] = [{"index": 0, **told(self.call, name, arguments)}]
        return self._event([self._choice({"delta": delta}, None, marks, first=first)])

    def usage(self, usage: Mapping[str, int]) -> bytes:
        """The event that tells the token counts."""
        return self._event([], usage=usage)

    def _choice(
        self, said: Mapping[str, Any], finish: str | None, marks: Sequence[Mark], *, first: bool
    ) -> dict[str, Any]:
        logprobs = self._logprobs(marks) if marks else None
        return {"index": 0, **said, "logprobs": logprobs, "finish_reason": finish, **self._ids(marks, first=first)}

    def _ids(self, marks: Sequence[Mark], *, first: bool) -> dict[str, Any]:
        """The tokens of what is said, and once those of the prompt, as vLLM tells them, if they were asked for."""
        if self.prompt_ids is None:
            return {}
        said = {"token_ids": [mark.token for mark in marks]}
        return {"prompt_token_ids": self.prompt_ids, **said} if first else said

    def _logprobs(self, marks: Sequence[Mark]) -> dict[str, Any] | None:
        if self.spell is None:
            return None
        return (chat_logprobs if self.chat else text_logprobs)(marks, self.spell)

    def _event(self, choices: list[Any], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return event(msgspec.json.encode({**self._common(kind), "choices": choices, **more}))

    def _common(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """Token counts as the API tells them."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
