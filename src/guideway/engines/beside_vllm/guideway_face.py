"""The face of a release before vLLM's HTTP server: an ASGI layer that holds every request to what the release says.

It gives system prompt, decoding and stops of the release to requests that say none, takes special tokens out of what
people wrote, lets through the fields and paths that our own servers know, and nothing else. vLLM imports it by its
interpreter, so there is only the standard library here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, NamedTuple

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
READ = frozenset({"/v1/models", "/health", "/metrics"})
"""Paths that may be read; vLLM has some fifty more, and some of them change the server."""
SHARED = frozenset(
    [
        "model",
        "temperature",
        "top_p",
        "top_k",
        "seed",
        "stream",
        "stream_options",
        "logit_bias",
        "frequency_penalty",
        "presence_penalty",
    ]
)
FIELDS = {
    CHAT: SHARED | frozenset(["logprobs", "top_logprobs", "response_format", "tools", "tool_choice"]),
    COMPLETIONS: SHARED | frozenset({"logprobs"}),
}
"""Fields that go on as they are. Others could change answers in ways that nobody looks at, or tell the prompt."""
REFUSED = ("best_of", "echo", "suffix", "functions")
OF_A_TURN = ("role", "content", "tool_calls", "tool_call_id")
MOST_STOPS = 16


class Refused(Exception):
    """A request that is answered with 400: a sentence for people, and the field that it is about."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.message, self.param = message, param


class Rules(NamedTuple):
    """What the release says: its name and system prompt, what a request may leave out, what ends an answer.

    ``marks`` are the special tokens as text; ``context`` is in tokens, None: the model does not tell.
    """

    name: str
    system: str
    decoding: Mapping[str, Any]
    marks: tuple[str, ...]
    ends: tuple[int, ...]
    context: int | None

    def settled(self, path: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The request that vLLM is given for *asked*.

        Raises:
            Refused: it asks for something that is not served here.
        """
        said = {name: value for name, value in asked.items() if value is not None}
        self._refuse(said)
        made = {name: value for name, value in said.items() if name in FIELDS[path]}
        made["model"] = said.get("model") or self.name
        for name in ("temperature", "top_p", "top_k", "seed"):
            if self.decoding.get(name) is not None:
                made.setdefault(name, self.decoding[name])
        made["max_tokens"] = self._length(path, said)
        made["stop"] = self._stops(path, said)
        made["stop_token_ids"] = list(self.ends)
        if path == CHAT:
            made["messages"] = self._turns(said.get("messages"))
            if "tools" in made:
                made["tools"] = self._plain(made["tools"])
        else:
            made["prompt"] = _one_prompt(said.get("prompt"))
        return made

    def _refuse(self, said: Mapping[str, Any]) -> None:
        if said.get("n", 1) != 1:
            raise Refused("n must be 1", "n")
        for name in REFUSED:
            if said.get(name) and (name, said[name]) != ("best_of", 1):
                raise Refused(f"{name} is not supported here", name)

    def _length(self, path: str, said: Mapping[str, Any]) -> Any:
        """The longest answer; vLLM refuses one above the context, and shortens others to the room that there is."""
        asked = said.get("max_completion_tokens") if path == CHAT else None
        asked = said.get("max_tokens") if asked is None else asked
        if not isinstance(asked, int):
            return self.decoding["max_tokens"] if asked is None else asked
        return asked if self.context is None else min(asked, self.context)

    def _stops(self, path: str, said: Mapping[str, Any]) -> Any:
        """Stop strings of the request and of the release; an answer that must have a form is cut by neither."""
        own = said.get("stop", [])
        if not isinstance(own, str | list):
            return own  # vLLM says what is wrong with it
        own = [own] if isinstance(own, str) else own
        if len(own) > MOST_STOPS:
            raise Refused(f"stop has more than {MOST_STOPS} strings", "stop")
        form = said.get("response_format")
        formed = isinstance(form, dict) and form.get("type") not in (None, "text")
        called = said.get("tool_choice") not in (None, "none", "auto")
        return own if path == CHAT and (formed or called) else [*self.decoding.get("stop", ()), *own]

    def _turns(self, messages: Any) -> Any:
        if not isinstance(messages, list) or not all(isinstance(turn, dict) for turn in messages):
            raise Refused("messages must be a list of objects", "messages")
        turns = [self._turn(turn) for turn in messages]
        if self.system and not any(turn.get("role") == "system" for turn in turns):
            turns.insert(0, {"role": "system", "content": self.system})
        return turns

    def _turn(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        made = {name: turn[name] for name in OF_A_TURN if turn.get(name) is not None}
        if made.get("role") == "developer":
            made["role"] = "system"
        if isinstance(made.get("content"), list):
            made["content"] = "".join(_text(part) for part in made["content"])
        plain: dict[str, Any] = self._plain(made)
        return plain

    def _plain(self, said: Any) -> Any:
        """*said* with all its texts free of special tokens: what people wrote cannot open or close a turn."""
        if isinstance(said, dict):
            return {self._plain(name): self._plain(value) for name, value in said.items()}
        if isinstance(said, list):
            return [self._plain(one) for one in said]
        return self._without_marks(said) if isinstance(said, str) else said

    def _without_marks(self, text: str) -> str:
        if not any(mark in text for mark in self.marks):
            return text
        sizes = sorted({len(mark) for mark in self.marks}, reverse=True)
        ends, marks = {mark[-1] for mark in self.marks}, frozenset(self.marks)
        left: list[str] = []
        for letter in text:  # once, and not again for each mark that another one was inside of
            left.append(letter)
            size = next((one for one in sizes if "".join(left[-one:]) in marks), 0) if letter in ends else 0
            del left[len(left) - size :]
        return "".join(left)


class Face:
    """The layer itself; *app* is vLLM's. The release lies in the folder that ``$GUIDEWAY_RELEASE`` names."""

    def __init__(self, app: App) -> None:
        self._app, self._rules = app, rules_of(Path(os.environ["GUIDEWAY_RELEASE"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and _is_read(scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in FIELDS:
            await self._ask(scope, receive, send)
        elif scope["type"] == "http":
            await _refuse(send, 404, f"there is no {scope['method']} {scope['path']}", None)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _whole(receive)
        if body is None:
            return
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise ValueError
            made = json.dumps(self._rules.settled(scope["path"], asked)).encode()
        except (ValueError, RecursionError):
            await _refuse(send, 400, "the body is not a JSON object", None)
        except Refused as refused:
            await _refuse(send, 400, refused.message, refused.param)
        else:
            kept = [(name, value) for name, value in scope["headers"] if name not in (b"content-length",)]
            length = (b"content-length", b"%d" % len(made))
            await self._app({**scope, "headers": [*kept, length]}, _again(made, receive), send)


def rules_of(folder: Path) -> Rules:
    """The rules of the release in *folder*."""
    settings = json.loads((folder / "serve.json").read_bytes())
    tokenizer = json.loads((folder / "model" / "tokenizer.json").read_bytes())
    special = [one["content"] for one in tokenizer.get("added_tokens", ()) if one.get("special") and one["content"]]
    config = _config(folder / "model" / "config.json")
    ends: set[int] = set()
    for place in (config, _config(folder / "model" / "generation_config.json")):
        ids = place.get("eos_token_id")
        ends.update(ids if isinstance(ids, list) else () if ids is None else (ids,))
    return Rules(
        name=settings["name"],
        system=settings.get("system", ""),
        decoding=settings["decoding"],
        marks=tuple(special),
        ends=tuple(sorted(ends)),
        context=config.get("max_position_embeddings"),
    )


def _config(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    return found


def _text(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise Refused("a part of a message must be a text", "messages")
    text: str = part["text"]
    return text


def _one_prompt(prompt: Any) -> Any:
    """One prompt, as text or as token ids."""
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    if isinstance(prompt, str) or (isinstance(prompt, list) and all(isinstance(one, int) for one in prompt)):
        return prompt
    raise Refused("prompt must be one text, or token ids", "prompt")


def _is_read(scope: Scope) -> bool:
    return scope["method"] == "GET" and scope["path"] in READ


async def _whole(receive: Receive) -> bytes | None:
    """The body; None: the client has left."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Says *body* once, and then what comes from the client: that it has left."""
    waiting = [body]

    async def said() -> MutableMapping[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return said


async def _refuse(send: Send, status: int, message: str, param: str | None) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
