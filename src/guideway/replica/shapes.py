"""The shapes of the OpenAI API that we speak: what a request may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from guideway.kit.http1 import Response

Words = Annotated[str, Meta(min_length=1, max_length=512)]
Stops = Words | Annotated[list[Words], Meta(max_length=16)]
Count = Annotated[int, Meta(ge=1)]
Temperature = Annotated[float, Meta(ge=0.0, le=2.0)]
Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Penalty = Annotated[float, Meta(ge=-2.0, le=2.0)]
Token = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]
Biases = Annotated[dict[Token, Annotated[float, Meta(ge=-100.0, le=100.0)]], Meta(max_length=1024)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


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


class Called(msgspec.Struct):
    """A function that the assistant called, and its arguments as JSON text."""

    name: Name
    arguments: str


class ToolCall(msgspec.Struct):
    """A call in a turn of the assistant."""

    id: str
    function: Called
    type: Literal["function"] = "function"

    def turn(self) -> dict[str, Any]:
        """The call as a chat template reads it: with arguments as an object, as models were taught with."""
        try:
            arguments = msgspec.json.decode(self.function.arguments)
        except (msgspec.DecodeError, RecursionError):
            arguments = self.function.arguments
        return {"id": self.id, "type": self.type, "function": {"name": self.function.name, "arguments": arguments}}


class Message(msgspec.Struct):
    """One turn of a conversation. ``developer`` is the newer name of ``system``; ``tool`` brings what a call gave."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def about_tools(self) -> bool:
        """Does a template need to know of tools to write this?"""
        return self.role == "tool" or bool(self.tool_calls)

    def turn(self) -> dict[str, Any]:
        """The message as a chat template reads it.

        Raises:
            RequestError: it says nothing.
        """
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise RequestError(400, f"a message of {self.role} has no content", param="messages")
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        turn: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": text}
        if self.role == "assistant" and self.tool_calls:
            turn["tool_calls"] = [call.turn() for call in self.tool_calls]
        if self.role == "tool" and self.tool_call_id is not None:
            turn["tool_call_id"] = self.tool_call_id
        return turn


class Function(msgspec.Struct, omit_defaults=True):
    """A function that may be called; *parameters* is the JSON Schema of its arguments, None: it takes none."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    """Something that the assistant may use; only functions are known."""

    type: Literal["function"]
    function: Function


class Named(msgspec.Struct):
    """The name of a function."""

    name: str


class ChosenTool(msgspec.Struct):
    """The one function that must be called."""

    type: Literal["function"]
    function: Named


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
    logit_bias: Biases | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    return_token_ids: bool | None = None

    @property
    def top(self) -> int | None:
        """How many likely tokens are told beside each one; None: no log-probabilities are asked for."""
        return None

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
        return ("best_of",) if self.best_of != 1 else ()


class ChatRequest(Asked, kw_only=True):
    """``POST /v1/chat/completions``."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    tools: Annotated[list[Tool], Meta(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ChosenTool | None = None
    functions: list[Any] | None = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def top(self) -> int | None:
        """How many likely tokens are told beside each one; None: no log-probabilities are asked for."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def refuse_what_we_cannot(self) -> None:
        """Say no to fields whose meaning we would otherwise silently drop.

        Raises:
            RequestError: there is such a field.
        """
        super().refuse_what_we_cannot()
        if self.top_logprobs and not self.logprobs:
            raise RequestError(400, "top_logprobs needs logprobs to be true", param="top_logprobs")

    def unsupported(self) -> tuple[str, ...]:
        """Names of fields that are refused unless they are empty."""
        return (*super().unsupported(), "functions")


class CompletionRequest(Asked, kw_only=True):
    """``POST /v1/completions``: one prompt, as text or as token ids."""

    prompt: str | list[int | str]
    echo: bool | None = None
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None

    @property
    def top(self) -> int | None:
        """How many likely tokens are told beside each one; None: no log-probabilities are asked for."""
        return self.logprobs

    def unsupported(self) -> tuple[str, ...]:
        """Names of fields that are refused unless they are empty."""
        return (*super().unsupported(), "echo", "suffix")
