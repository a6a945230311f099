"""Answers whose texts are changed on their way: values put back, personal data kept out, or the end before time."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any

import msgspec

from guideway.gateway.channels import Channels, Make, says_nothing, without_tokens
from guideway.gateway.shape import Shape, shape_of, with_text

EVENT_LIMIT = 1024 * 1024
CHOICE_LIMIT = 1024
TRIES = 16
"""So many events in a row are tried to be known again."""
FILTERED = "content_filter"
"""Why an answer ended that a stream has stopped, in the words of the OpenAI API."""

DONE = b"[DONE]"

Gate = Callable[[dict[str, Any]], bool]

_EVENT_END = re.compile(rb"\r?\n\r?\n")
_SILENT = re.compile(
    rb"(?:data(?::[^\r\n]*)?|: ?(?:ping|keep-?alive)?|event: ?(?:message|error|ping)|id: ?[0-9]{1,20}"
    rb"|retry: ?[0-9]{1,9})?(?:\r\n|\r|\n)?"
)
"""Lines of an event that say nothing but their data, which is looked at."""
_MARK = b"\xef\xbb\xbf"
_HEAD = ("id", "object", "created", "model", "system_fingerprint")
_decode = msgspec.json.decode
_encode = msgspec.json.encode


class AnswerRewriter:
    """Changes one answer: ``whole`` one that came at once, ``feed`` and ``end`` one that comes as events.

    *gate* may take calls out of a choice, *hide* fields out of an answer, and each says whether it did. Events in
    which nothing changes pass byte by byte.
    ``stopped``: a stream raised ``Stop``; the answer is complete as it is, and what else comes is dropped.

    Raises:
        ValueError: the model server sent what is no JSON or too large, of which nothing may be passed on.
    """

    __slots__ = ("_begun", "_buffer", "_choices", "_gate", "_hide", "_last", "_make", "_shape", "_tries", "stopped")

    def __init__(self, make: Make, gate: Gate | None = None, hide: Gate | None = None) -> None:
        self._make, self._gate, self._hide = make, gate, hide
        self._choices: dict[int, Channels] = {}
        self._last: dict[str, Any] = {}
        self._buffer = b""
        self._begun = self.stopped = False
        self._shape: Shape | None = None
        self._tries = TRIES

    def whole(self, body: bytes) -> bytes:
        """The whole answer, changed."""
        try:
            return self._whole(body)
        except RecursionError:
            raise ValueError("what the model server sent is nested too deeply") from None

    def _whole(self, body: bytes) -> bytes:
        answer = _object(body)
        changed = self._hide is not None and self._hide(answer)
        if "choices" not in answer:
            changed = self._channels({"index": 0}).feed(answer, last=True)
        for choice in _choices(answer):
            changed |= self._gated(choice)
            channels = self._channels(choice)
            changed |= channels.feed(choice, last=True)
            if channels.stopped:
                self.stopped = changed = True
                choice["finish_reason"] = FILTERED
        return _encode(answer) if changed else body

    def known(self, data: bytes) -> bytes | None:
        """What ``feed`` would give for *data*, if that is one event like the one before; None: it is not."""
        shape = self._shape
        if shape is None or self._buffer or self.stopped:
            return None
        text = shape.text(data)
        new = shape.channels.known(shape.path, text) if text is not None else None
        return self._as_known(data, shape, text, new) if text is not None and new is not None else None

    def feed(self, data: bytes) -> bytes:
        """Further bytes of a stream of events; those events that are complete, changed."""
        if self.stopped:
            return b""
        data = self._buffer + data if self._buffer else data
        if not self._begun and data:
            self._begun = len(data) >= len(_MARK)
            data = data.removeprefix(_MARK)
        if data[-2:] == b"\n\n" and data.find(b"\n\n") == len(data) - 2 and b"\r" not in data:
            self._buffer = b""
            return self._event(data)
        out, at = [], 0
        for found in _EVENT_END.finditer(data):
            out.append(self._event(data[at : found.end()]))
            at = found.end()
            if self.stopped:
                return b"".join(out)
        self._buffer = data[at:]
        if len(self._buffer) > EVENT_LIMIT:
            raise ValueError("an event of the model server is too large")
        return b"".join(out)

    def end(self) -> bytes:
        """Nothing follows: what was held back, and an event that was not closed."""
        if self.stopped:
            return b""
        rest, self._buffer = self._buffer, b""
        out = self._event(rest + b"\n\n") if rest.strip() else b""
        return out if self.stopped else out + self._flush()

    def _event(self, event: bytes) -> bytes:
        """One event with its blank line."""
        shape = self._shape
        text = shape.text(event) if shape is not None else None
        if shape is not None and text is not None:
            new = shape.channels.known(shape.path, text)
            if new is not None:
                return self._as_known(event, shape, text, new)
        try:
            return self._changed(event)
        except RecursionError:
            raise ValueError("what the model server sent is nested too deeply") from None

    def _as_known(self, event: bytes, shape: Shape, text: str, new: str) -> bytes:
        """An event of a known *shape* whose *text* became *new*; the same as `_changed` makes of it."""
        self._tries, self._last = TRIES, shape.chunk
        if shape.channels.stopped:
            self.stopped = True
            return self._farewell(with_text(event, shape.path, new))
        if new == text:
            return event
        return shape.event(new) if new or not shape.silent else b""

    def _learn(self, event: bytes) -> None:
        """Know events like *event* again, unless none of the last ones was known."""
        if self._tries:
            self._tries -= 1
            with contextlib.suppress(RecursionError):
                self._shape = shape_of(event, self._channels, self._hide) or self._shape

    def _changed(self, event: bytes) -> bytes:
        data, event = _read(event)
        if data is None:
            return event
        if data.strip() == DONE:
            flushed = self._flush()
            return flushed if self.stopped else flushed + event
        chunk = _object(data)
        changed = self._hide is not None and self._hide(chunk)
        choices = _choices(chunk)
        if not choices:
            return _line(chunk) if changed else event
        self._last = chunk
        before: list[bytes] = []
        for choice in choices:
            changed |= self._choice(choice, before)
        if self._stops():
            return b"".join(before) + self._farewell(chunk)
        self._learn(event)
        if not changed:
            return b"".join(before) + event
        spoke = any(self._channels(choice).spoke for choice in choices)
        quiet = not spoke and says_nothing(choices) and not chunk.get("usage")
        return b"".join(before) + (b"" if quiet else _line(chunk))

    def _choice(self, choice: dict[str, Any], before: list[bytes]) -> bool:
        """Change *choice*; what has to be said before its end goes into *before*."""
        channels = self._channels(choice)
        changed = self._gated(choice)
        last = choice.get("finish_reason") is not None
        changed |= channels.feed(choice, last=last)
        if last:
            before += self._rest(choice.get("index", 0), channels)
            channels.finished = not channels.stopped
        return changed

    def _gated(self, choice: dict[str, Any]) -> bool:
        """Take calls out of *choice*, and the tokens that would tell them; was there any?"""
        if self._gate is None or not self._gate(choice):
            return False
        without_tokens(choice)
        return True

    def _channels(self, choice: dict[str, Any]) -> Channels:
        index = choice.get("index", 0)
        if not isinstance(index, int):
            raise ValueError("the choices of the model server have no known form")
        channels = self._choices.get(index)
        if channels is None:
            if len(self._choices) >= CHOICE_LIMIT:
                raise ValueError("an answer with too many choices")
            channels = self._choices[index] = Channels(self._make)
        return channels

    def _rest(self, index: int, channels: Channels) -> list[bytes]:
        return [self._chunk([{"index": index, **fields, "finish_reason": None}]) for fields in channels.rest()]

    def _flush(self) -> bytes:
        """What all choices hold back, before the end of the stream."""
        out = [piece for index, channels in self._choices.items() for piece in self._rest(index, channels)]
        return b"".join(out) + (self._farewell({}) if self._stops() else b"")

    def _stops(self) -> bool:
        self.stopped = self.stopped or any(channels.stopped for channels in self._choices.values())
        return self.stopped

    def _farewell(self, chunk: dict[str, Any]) -> bytes:
        """The end of a stopped answer: what of *chunk* may still pass, then why it is over for every choice."""
        choices = _choices(chunk)
        for choice in choices:
            if not self._channels(choice).finished:
                choice["finish_reason"] = None
        out = b"" if says_nothing(choices) else _line(chunk)
        part: dict[str, Any] = {"text": ""} if "text" in (_choices(self._last) or [{}])[0] else {"delta": {}}
        open_ones = sorted(index for index, channels in self._choices.items() if not channels.finished)
        ends = [{"index": index, **part, "finish_reason": FILTERED} for index in open_ones]
        return out + self._chunk(ends) + b"data: %b\n\n" % DONE

    def _chunk(self, choices: list[dict[str, Any]]) -> bytes:
        """An event of our own, with the head of the last that came."""
        return _line({name: self._last[name] for name in _HEAD if name in self._last} | {"choices": choices})


def _read(event: bytes) -> tuple[bytes | None, bytes]:
    """What an event carries, and the event without lines that could say more.

    None: nothing, it is a comment or a field that is no data. Without any line that may pass it is empty.
    """
    if event.startswith(b"data: {") and event.count(b"\n") == 2 and b"\r" not in event:
        return event[6:-2], event
    kept = [line for line in event.splitlines(keepends=True) if _SILENT.fullmatch(line)]
    lines = [bare for line in kept if (bare := line.rstrip(b"\r\n")).startswith(b"data:") or bare == b"data"]
    data = b"\n".join(line[5:].removeprefix(b" ") for line in lines) if lines else None
    return data, b"".join(kept) if any(line.strip() for line in kept) else b""


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("what the model server sent is no JSON") from None
    if not isinstance(value, dict):
        raise ValueError("what the model server sent is no JSON object")
    return value


def _choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
        raise ValueError("the choices of the model server have no known form")
    return choices


def _line(chunk: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % _encode(chunk)
