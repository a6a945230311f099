"""What an answer says of the tokens that it cost."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, gc=False):
    """Tokens of the prompt, and of the answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Answer(msgspec.Struct, gc=False):
    usage: Usage | None = None
    choices: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_MARK = b'"usage"'
_DATA = b"data:"


def of_body(body: bytes) -> Usage | None:
    """The usage in a whole answer; None: it tells none."""
    if _MARK not in body:
        return None
    try:
        return _decode(body).usage
    except (msgspec.DecodeError, RecursionError):
        return None


def of_events(events: bytes, *, strip: bool) -> tuple[Usage | None, bytes]:
    """The usage in whole server-sent *events*, and the events to pass on.

    With *strip* an event that tells nothing but the usage is taken out: the client did not ask for it.
    """
    if _MARK not in events:
        return None, events
    found: Usage | None = None
    kept = []
    for event in _split(events):
        told = _read(event) if _MARK in event else None
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


def _read(event: bytes) -> _Answer | None:
    data = b"".join(line[5:] for line in event.splitlines() if line.startswith(_DATA))
    try:
        return _decode(data)
    except (msgspec.DecodeError, RecursionError):
        return None
