"""An answer on its way back, when it does not come in one piece: held until it is whole, or passed on as it comes."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

from guideway.gateway import errors, usage, wire
from guideway.gateway.errors import ApiError
from guideway.gateway.opening import Opening, finish_of
from guideway.gateway.prepare import Prepared
from guideway.gateway.record import Record
from guideway.gateway.upstream import Head

COLLECT_LIMIT = 1024 * 1024
REWRITE_LIMIT = 16 * 1024 * 1024
EVENT_LIMIT = 1024 * 1024
_EVENT_END = (b"\n\n", b"\r\n\r\n")


class Style(enum.IntEnum):
    """How an answer is passed on."""

    COLLECTED = 1
    LENGTH = 2
    CHUNKED = 3
    CLOSE = 4


class Way(Protocol):
    """Where an answer goes: the exchange that it belongs to."""

    record: Record

    @property
    def writer(self) -> Callable[[bytes], None]:
        """What sends bytes to the client."""

    def render(self, head: Head, framing: bytes, at: float, *, keep_alive: bool = True) -> bytes:
        """The head of the answer."""

    def whole(self, head: Head, body: bytes, at: float) -> None:
        """The answer is there in one piece, read *at*."""

    def let_go(self) -> None:
        """Nothing more is wanted of the replica."""

    def over(self, status: int) -> None:
        """The answer is out."""

    def keep(self, head: Head, body: bytes) -> None:
        """The answer as the replica gave it is whole."""

    def spoiled(self, error: ApiError) -> None:
        """The answer cannot be passed on."""


class Answer:
    """One answer. ``begun``: the client has been sent a part of it, so no other replica can take over.

    With *keeps* it is gathered for the cache, as long as it is short; *prepared* says how it is looked at.
    Events are passed on whole: what came of one that is not complete waits, for nobody can use half an event. The
    head waits for the first of them. They never have a length: what is taken out or put in would make it untrue. With
    *strip* an event that only tells the usage is taken out.
    """

    __slots__ = (
        "_are_events",
        "_flows",
        "_gathered",
        "_held",
        "_opening",
        "_parts",
        "_prepared",
        "_rewriter",
        "_size",
        "_strip",
        "_style",
        "_version",
        "_way",
        "_write",
        "begun",
        "head",
    )

    def __init__(
        self,
        way: Way,
        head: Head,
        version: str,
        *,
        prepared: Prepared | None = None,
        keeps: bool = False,
    ) -> None:
        self.head, self.begun, self._flows = head, False, False
        self._are_events = head.is_event_stream
        self._prepared = prepared
        self._rewriter = prepared.rewriter() if prepared is not None else None
        self._gathered: list[bytes] | None = [] if keeps else None
        self._opening = way.record.opening if self._are_events else None
        self._way, self._version, self._write = way, version, way.writer
        self._strip = prepared is not None and prepared.strip
        self._style = Style.COLLECTED
        self._parts: list[bytes] = []
        self._size = 0
        self._held = b""

    def feed(self, parts: list[bytes], done: bool, at: float) -> None:
        """Further *parts* of the body, read *at*; *done*: it is complete."""
        if self._are_events:
            if done or len(parts) > 1 or not self._flows or not self._known(parts[0]):
                self._events(parts, done, at)
        elif self._style is Style.COLLECTED:
            self._collect(parts, done, at)
        else:
            self._pass(b"".join(parts), done)

    def farewell(self, error: ApiError) -> bytes | None:
        """How an answer that has begun and breaks off ends; None: it cannot be told but by cutting the connection."""
        if not self._are_events:
            return None
        said = b"data: %b\n\n" % error.body()
        return wire.chunk(said) + wire.LAST_CHUNK if self._style is Style.CHUNKED else said

    # A body of any kind.

    def _collect(self, parts: list[bytes], done: bool, at: float) -> None:
        """Hold a short answer until it is whole; a long one goes on as it comes."""
        self._parts += parts
        self._size += sum(map(len, parts))
        if done:
            self._way.whole(self.head, b"".join(self._parts), at)
        elif self._rewriter is not None:
            if self._size > REWRITE_LIMIT:
                self._way.spoiled(errors.UPSTREAM_BROKE)
        elif max(self.head.length or 0, self._size) > COLLECT_LIMIT:
            body, self._parts = b"".join(self._parts), []
            self._begin(body, at)

    def _begin(self, body: bytes, at: float) -> None:
        """Send the head, and the first piece with it."""
        self._way.record.first = at
        length = None if self._are_events else self.head.length
        if length is not None:
            self._style, framing = Style.LENGTH, wire.length(length)
        elif self._version == "1.0":
            self._style, framing = Style.CLOSE, b""
        else:
            self._style, framing = Style.CHUNKED, wire.CHUNKED
        head = self._way.render(self.head, framing, at, keep_alive=self._style is not Style.CLOSE)
        self.begun = True
        self._flows = self._style is Style.CHUNKED
        self._write(head + self._framed(body))

    def _framed(self, body: bytes) -> bytes:
        return wire.chunk(body) if body and self._style is Style.CHUNKED else body

    def _pass(self, body: bytes, done: bool) -> None:
        """One write for all that one read brought."""
        data = self._framed(body)
        if done and self._style is Style.CHUNKED:
            data += wire.LAST_CHUNK
        if data:
            self._write(data)
        if done:
            self._way.over(self.head.status)

    # Events.

    def _known(self, event: bytes) -> bool:
        """Pass on an event that is like the one before; False: it is not, and nothing was done."""
        new = self._rewriter.known(event) if self._rewriter is not None and not self._held else None
        if new is None:
            return False
        if self._gathered is not None:
            self._gather(event, False)
        if self._opening is not None:
            self._open(event)
        if new:
            record = self._way.record
            record.pieces += 1
            if record.said is not None:
                record.said.add(new)
            self._write(b"%x\r\n%b\r\n" % (len(new), new))
        if self._stopped():
            self._pass(b"", True)
        return True

    def _events(self, parts: list[bytes], done: bool, at: float) -> None:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if self._held:
            data, self._held = self._held + data, b""
        if not done and not data.endswith(_EVENT_END):
            cut = _end_of_events(data)
            data, self._held = data[:cut], data[cut:]
            if len(self._held) > EVENT_LIMIT:
                self._way.spoiled(errors.UPSTREAM_BROKE)
                return
        record = self._way.record
        if usage.MARK in data:
            found, data = usage.of_events(data, strip=self._strip)
            record.usage = found or record.usage
        if self._gathered is not None:
            self._gather(data, done)
        self._note(data, record)
        if self._rewriter is not None:
            try:
                data = self._rewriter.feed(data) + (self._rewriter.end() if done else b"")
            except ValueError:
                self._way.spoiled(errors.UPSTREAM_BROKE)
                return
            done = self._stopped() or done
        record.pieces += data.count(b"data:")
        if record.said is not None:
            record.said.add(data)
        if self.begun:
            self._pass(data, done)
        elif data or done:
            self._begin(data, at)
            if done:
                self._pass(b"", done)

    def _note(self, data: bytes, record: Record) -> None:
        """Note how the answer begins and why it ended."""
        if self._opening is not None:
            self._open(data)
        if not record.finish:
            record.finish = finish_of(data)

    def _open(self, data: bytes) -> None:
        """Keep how the answer begins, as the replica says it."""
        if isinstance(self._opening, Opening) and not self._opening.add(data):
            self._opening = None

    def _gather(self, data: bytes, done: bool) -> None:
        """Keep the events for others, if there are not too many."""
        gathered = self._gathered
        assert gathered is not None
        self._size += len(data)
        if self._size > COLLECT_LIMIT:
            self._gathered = None
            return
        gathered.append(data)
        if done:
            self._way.keep(self.head, b"".join(gathered))

    def _stopped(self) -> bool:
        """Did a rule end the answer? Then the replica need not go on."""
        stopped = self._rewriter is not None and self._rewriter.stopped
        if stopped:
            self._gathered = None
            self._way.record.guarded, self._way.record.kind = True, "answer"
            self._way.let_go()
        return stopped


def _end_of_events(data: bytes) -> int:
    """Where the last whole event in *data* ends; 0: there is none."""
    return max(data.rfind(end) + len(end) if end in data else 0 for end in _EVENT_END)
