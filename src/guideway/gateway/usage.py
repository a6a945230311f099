"""What an answer says: the tokens that it cost, and its texts."""

from __future__ import annotations

import msgspec

_ABSENT = msgspec.Raw()
_NONE = (_ABSENT,) * 4
_NOTHING = frozenset({b"null", b"[]"})


class Usage(msgspec.Struct, gc=False):
    """Tokens of the prompt, and of the answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What one choice says; anything but text stays as it came. A field that is not named here could be text too."""

    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: msgspec.Raw = _ABSENT
    function_call: msgspec.Raw = _ABSENT
    annotations: msgspec.Raw = _ABSENT
    audio: msgspec.Raw = _ABSENT

    @property
    def is_text(self) -> bool:
        """Is it nothing but text?"""
        rest = self.tool_calls, self.function_call, self.annotations, self.audio
        return rest == _NONE or not any(map(_is_there, rest))


class Choice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One of the answers."""

    message: Message | None = None
    text: str | None = None
    index: int | None = None
    finish_reason: str | None = None
    stop_reason: msgspec.Raw = _ABSENT
    logprobs: msgspec.Raw = _ABSENT
    token_ids: list[int] | None = None


class Told(msgspec.Struct, gc=False):
    """A whole answer, as far as it is read here."""

    usage: Usage | None = None
    choices: list[Choice] | None = None

    def texts(self) -> list[str] | None:
        """What it says; None: more than text, or nothing that is known here."""
        found = []
        for choice in self.choices or ():
            message = choice.message
            if message is not None:
                if not message.is_text:
                    return None
                said = (message.content, message.refusal, message.reasoning_content, message.reasoning)
                found += [one for one in said if one]
            if choice.text:
                found.append(choice.text)
        return found if found else None


class _Counted(msgspec.Struct, gc=False):
    usage: Usage | None = None


class _Event(msgspec.Struct, gc=False):
    usage: Usage | None = None
    choices: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(Told).decode
_decode_usage = msgspec.json.Decoder(_Counted).decode
_decode_event = msgspec.json.Decoder(_Event).decode
MARK = b'"usage"'
_NO_USAGE = b'"usage":null'
_DATA = b"data:"


def _is_there(value: msgspec.Raw) -> bool:
    return bool(value) and bytes(value) not in _NOTHING


def read(body: bytes) -> Told | None:
    """A whole answer; None: it is none that is understood here. Of one with unknown fields only the usage is read."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError):
        return _usage_alone(body)


def _usage_alone(body: bytes) -> Told | None:
    try:
        return Told(_decode_usage(body).usage)
    except (msgspec.DecodeError, RecursionError):
        return None


def of_events(events: bytes, *, strip: bool) -> tuple[Usage | None, bytes]:
    """The usage in whole server-sent *events*, and the events to pass on.

    With *strip* an event that tells nothing but the usage is taken out: the client did not ask for it.
    """
    if MARK not in events or events.count(MARK) == events.count(_NO_USAGE):
        return None, events
    found: Usage | None = None
    kept = []
    for event in _split(events):
        told = _read(event) if MARK in event else None
        if told is not None and told.usage is not None:
            found = told.usage
            if strip and not told.choices:
                continue
        kept.append(event)
    return found, b"".join(kept) if strip else events


def _split(events: bytes) -> list[bytes]:
    ends = b"\r\n\r\n" if b"\r\n\r\n" in events else b"\n\n"
    parts = events.split(ends)
    return [part + ends for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _read(event: bytes) -> _Event | None:
    data = b"".join(line[5:] for line in event.splitlines() if line.startswith(_DATA))
    try:
        return _decode_event(data)
    except (msgspec.DecodeError, RecursionError):
        return None
