"""Answers changed on their way to the client: whole ones, and streams of events split at any byte.

Each text of an answer (per choice: what it says, its reasoning, the arguments of each call) runs through a text
stream of its own. An event in which nothing changes passes as it came, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from guideway.gateway.usage import Told
from guideway.privacy.stream import Stop, TextStream

EVENT_LIMIT = 1024 * 1024
PROSE = ("content", "refusal", "reasoning_content", "reasoning")
ARGUMENTS = "arguments"
_DONE = b"data: [DONE]\n\n"

Make = Callable[[str], TextStream]
Gate = Callable[[dict[str, Any]], bool]
"""Looks at one choice, may change it, and says whether it did."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class AnswerRewriter:
    """Rewrites one answer. *make* gives a fresh stream for a channel; *gate* may take calls out of a choice.

    *quiet* says of a text that nothing in it can change; None: every one has to be looked at. ``stopped``: a stream
    ended the answer; the client has been told, and what the model still says is of no interest.
    """

    __slots__ = ("_gate", "_held", "_last", "_make", "_quiet", "_streams", "stopped")

    def __init__(self, make: Make, gate: Gate | None = None, quiet: Callable[[str], bool] | None = None) -> None:
        self.stopped = False
        self._make, self._gate, self._quiet = make, gate, quiet
        self._held = b""
        self._streams: dict[tuple[Any, ...], TextStream] = {}
        self._last: dict[str, Any] = {}

    # A whole answer.

    def whole(self, body: bytes, told: Told | None = None) -> bytes:
        """*body* as the client may see it; *told* is what has been read of it already.

        Raises:
            ValueError: it is no JSON that can be looked at.
        """
        if self._quiet is not None and told is not None:
            texts = told.texts()
            if texts is not None and all(map(self._quiet, texts)):
                return body
        answer = _read(body)
        changed = False
        choices = answer.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                changed |= self._choice(choice)
        else:
            found = self._any(answer)
            changed, answer = found != answer, found
        return _encode(answer) if changed else body

    def _choice(self, choice: Any) -> bool:
        if not isinstance(choice, dict):
            raise ValueError("a choice that is no object")
        changed = self._gate(choice) if self._gate is not None else False
        for place, name, channel, *_ in _texts(choice, choice.get("message")):
            text = place[name]
            new = self._through(text, channel)
            if self.stopped:
                choice["finish_reason"] = "content_filter"
            if new != text or self.stopped:
                place[name] = new
                changed = True
        if changed and choice.get("logprobs") is not None:
            choice["logprobs"] = None  # the tokens would tell what the text no longer does
        return changed

    def _through(self, text: str, channel: str) -> str:
        """The whole of one text."""
        if self.stopped:
            return ""
        stream = self._make(channel)
        said = ""
        try:
            said = stream.feed(text)
            return said + stream.end()
        except Stop as stop:
            self.stopped = True
            return said + stop.text

    def _any(self, value: Any, depth: int = 0) -> Any:
        """An answer of another shape: every string in it is a text."""
        if isinstance(value, str):
            return self._through(value, "text")
        if depth > 64:
            raise ValueError("nested too deeply")
        if isinstance(value, list):
            return value if _is_vector(value) else [self._any(one, depth + 1) for one in value]
        if isinstance(value, dict):
            return {name: self._any(one, depth + 1) for name, one in value.items()}
        return value

    # Events.

    def feed(self, data: bytes) -> bytes:
        """Further bytes of a stream: the events that are whole now.

        Raises:
            ValueError: an event is no JSON that can be looked at, or has no end.
        """
        if self.stopped:
            return b""
        data = self._held + data if self._held else data
        out = []
        at = 0
        for end in _ends(data):
            out.append(self._event(data[at:end]))
            at = end
            if self.stopped:
                break
        self._held = b"" if self.stopped else data[at:]
        if len(self._held) > EVENT_LIMIT:
            raise ValueError("an event without end")
        return b"".join(out)

    def end(self) -> bytes:
        """The stream is over: what was held back, for a stream that did not say that it is done."""
        held, self._held = self._held, b""
        out = self._event(held + b"\n\n") if held.strip() else b""
        return out + self._flush(None)

    def _event(self, event: bytes) -> bytes:
        data = _data_of(event)
        if data is None:
            return event
        if data.strip() == b"[DONE]":
            return self._flush(None) + event
        return self._object(event, _read(data))

    def _object(self, event: bytes, answer: dict[str, Any]) -> bytes:
        choices = answer.get("choices")
        if not isinstance(choices, list):
            found = self._any(answer)
            return event if found == answer else _line(found)
        if not choices:
            return event
        self._last = answer
        before, changed = b"", False
        for choice in choices:
            if not isinstance(choice, dict):
                raise ValueError("a choice that is no object")
            changed |= self._delta(choice)
            if self.stopped:
                return _line(answer) + self._farewell(choice)
            if choice.get("finish_reason") is not None:
                before += self._flush(choice.get("index", 0))
                if self.stopped:
                    return before
        return before + (_line(answer) if changed else event)

    def _delta(self, choice: dict[str, Any]) -> bool:
        """Run the texts of one choice of an event through their streams; True: something changed."""
        changed = self._gate(choice) if self._gate is not None else False
        index = choice.get("index", 0)
        for place, name, channel, *call in _texts(choice, choice.get("delta")):
            text = place[name]
            if self.stopped:
                place[name], changed = "", True
                continue
            key = (index, channel, *call)
            stream = self._streams.get(key)
            if stream is None:
                stream = self._streams[key] = self._make(channel)
            try:
                new = stream.feed(text)
            except Stop as stop:
                self.stopped, new = True, stop.text
            if new != text:
                place[name], changed = new, True
        if changed and choice.get("logprobs") is not None:
            choice["logprobs"] = None
        return changed

    def _flush(self, index: Any) -> bytes:
        """What the streams of choice *index* (None: of all) held back, as events of their own."""
        out = []
        for key in [key for key in self._streams if index is None or key[0] == index]:
            try:
                rest = self._streams.pop(key).end()
            except Stop as stop:
                self.stopped, rest = True, stop.text
            if rest:
                out.append(self._piece(key, rest))
            if self.stopped:
                out.append(self._farewell({"index": key[0]}))
                break
        return b"".join(out)

    def _piece(self, key: tuple[Any, ...], text: str) -> bytes:
        index, channel, *call = key
        if channel == "text":
            choice = {"index": index, "text": text, "finish_reason": None}
        elif channel == ARGUMENTS:
            part = {"index": call[0], "function": {"arguments": text}} if call else None
            delta = {"tool_calls": [part]} if part else {"function_call": {"arguments": text}}
            choice = {"index": index, "delta": delta, "finish_reason": None}
        else:
            choice = {"index": index, "delta": {channel: text}, "finish_reason": None}
        return _line({**self._frame(), "choices": [choice]})

    def _farewell(self, choice: dict[str, Any]) -> bytes:
        """The end of an answer that a stream stopped."""
        self._streams.clear()
        said: dict[str, Any] = {"text": ""} if "text" in choice else {"delta": {}}
        last = {"index": choice.get("index", 0), **said, "finish_reason": "content_filter"}
        return _line({**self._frame(), "choices": [last]}) + _DONE

    def _frame(self) -> dict[str, Any]:
        return {name: self._last[name] for name in ("id", "object", "created", "model") if name in self._last}


def _texts(choice: dict[str, Any], part: Any) -> Iterator[tuple[Any, ...]]:
    """Where the texts of a choice are: (object, name, channel), and for calls their number."""
    if isinstance(choice.get("text"), str):
        yield choice, "text", "text"
    if not isinstance(part, dict):
        return
    for name in PROSE:
        value = part.get(name)
        if isinstance(value, str):
            if value:
                yield part, name, name
        elif isinstance(value, list):
            for piece in value:
                if isinstance(piece, dict) and isinstance(piece.get("text"), str):
                    yield piece, "text", name
    for at, call in enumerate(part.get("tool_calls") or ()):
        for kind, field in (("function", ARGUMENTS), ("custom", "input")):
            function = call.get(kind) if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get(field), str):
                yield function, field, ARGUMENTS, call.get("index", at)
    old = part.get("function_call")
    if isinstance(old, dict) and isinstance(old.get(ARGUMENTS), str):
        yield old, ARGUMENTS, ARGUMENTS


def _read(data: bytes) -> dict[str, Any]:
    try:
        found = _decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _line(answer: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % _encode(answer)


def _ends(data: bytes) -> Iterator[int]:
    """Where the whole events in *data* end."""
    at = 0
    while True:
        found = [(data.find(mark, at), len(mark)) for mark in (b"\n\n", b"\r\n\r\n")]
        present = [(place + size) for place, size in found if place >= 0]
        if not present:
            return
        at = min(present)
        yield at


def _data_of(event: bytes) -> bytes | None:
    """The data of an event; None: it has none."""
    if event.startswith(b"data: ") and event.count(b"\n") == 2 and b"\r" not in event:
        return event[6:-2]
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _is_vector(value: list[Any]) -> bool:
    """Numbers only, as in an embedding: there is no text in them."""
    return bool(value) and isinstance(value[0], int | float)
