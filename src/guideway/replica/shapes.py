"""The shapes of the OpenAI API that we speak: what a request may say, and what an answer looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.kit.http1 import Response

Words = Annotated[str, Meta(min_length=1, max_length=512)]
Stops = Words | Annotated[list[Words], Meta(max_length=16)]
Count = Annotated[int, Meta(ge=1)]
Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]


class RequestError(Exception):
    """A request that cannot be served: an HTTP status, a sentence for people, and a code for programs."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def response(self) -> Response:
        """The error as the API says it."""
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        headers = (("Retry-After", "1"),) if self.status in (429, 503) else ()
        return Response(self.status, msgspec.json.encode({"error": error}), headers=headers)


class Part(msgspec.Struct):
    """A part of a message; only text is understood."""

    type: Literal["text"]
    text: str


class Message(msgspec.Struct):
    """One turn of a conversation. ``developer`` is the newer name of ``system``."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    def turn(self) -> dict[str, str]:
        """The message as a chat template reads it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(msgspec.Struct):
    """``include_usage`` asks for one more piece at the end, with the token counts."""

    include_usage: bool | None = None


class Asked(msgspec.Struct, kw_only=True):
    """What both kinds of request may say. Fields that change no token are ignored; the others are refused."""

    model: str = ""
    temperature: Temperature | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0)] | None = None
    max_tokens: Count | None = None
    stop: Stops | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    best_of: int | None = None
    logprobs: bool | int | None = None
    logit_bias: dict[str, Any] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings as a tuple."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def refuse_what_we_cannot(self) -> None:
        """Say no to fields whose meaning we would otherwise silently drop.

        Raises:
            RequestError: there is such a field.
        """
        if self.n not in (None, 1):
            raise RequestError(400, "n must be 1", code="unsupported_value", param="n")
        for field in self.unsupported():
            if getattr(self, field):
                raise RequestError(400, f"{field} is not supported here", code="unsupported_parameter", param=field)

    def unsupported(self) -> tuple[str, ...]:
        """Names of fields that are refused unless they are empty."""
        many = ("best_of",) if self.best_of != 1 else ()
        return (*many, "logprobs", "logit_bias", "frequency_penalty", "presence_penalty")


class ChatRequest(Asked, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    top_logprobs: int | None = None

    def unsupported(self) -> tuple[str, ...]:
        """Names of fields that are refused unless they are empty."""
        shaped = self.response_format is not None and self.response_format.get("type") != "text"
        more = ("tools", "functions", "top_logprobs", *(("response_format",) if shaped else ()))
        return (*super().unsupported(), *more)


class CompletionRequest(Asked, kw_only=True):
    """``POST /v1/completions``: one prompt, as text or as token ids."""

    prompt: str | list[int | str]
    echo: bool | None = None
    suffix: str | None = None

    def unsupported(self) -> tuple[str, ...]:
        """Names of fields that are refused unless they are empty."""
        return (*super().unsupported(), "echo", "suffix")


class Head(msgspec.Struct, frozen=True):
    """What all pieces of one answer have in common. ``chat`` tells the two kinds apart."""

    id: str
    created: int
    model: str
    chat: bool

    def whole(self, text: str, finish: str, usage: Mapping[str, int]) -> bytes:
        """The answer as one JSON object."""
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        kind = "chat.completion" if self.chat else "text_completion"
        return msgspec.json.encode({**self._common(kind), "choices": [choice], "usage": usage})

    def piece(self, text: str, finish: str | None = None, *, first: bool = False) -> bytes:
        """One event of a stream."""
        delta = {"role": "assistant"} if first else {}
        said: dict[str, Any] = {"text": text}
        if self.chat:
            said = {"delta": {**delta, "content": text} if text or first else delta}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return self._event([choice])

    def usage(self, usage: Mapping[str, int]) -> bytes:
        """The event that tells the token counts."""
        return self._event([], usage=usage)

    def _event(self, choices: list[Any], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return event(msgspec.json.encode({**self._common(kind), "choices": choices, **more}))

    def _common(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


DONE = b"data: [DONE]\n\n"


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """Token counts as the API tells them."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
