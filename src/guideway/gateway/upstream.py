"""The connection to a replica: one request at a time, one call to the receiver for each read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import httptools
import msgspec

from guideway.gateway import wire
from guideway.gateway.backend import Backend
from guideway.gateway.mishap import tell
from guideway.kit.unix import short

CONNECT_SECONDS = 2.0
_PASSED = frozenset(
    b"retry-after retry-after-ms x-should-retry allow content-disposition x-content-type-options".split()
)
_PASSED_BEGINNINGS = (b"openai-", b"x-ratelimit-")
"""What clients of the API read. Anything else could speak to a proxy before the gateway, or to a browser."""
BODILESS = frozenset({204, 304})
_HEAD_LIMIT = 64 * 1024
_HEAD_END = b"\r\n\r\n"
_KEPT = 1024
_LONGEST = 4096


class Head(msgspec.Struct):
    """The head of an answer. ``lines`` are the header lines that may be passed on; ``length`` None: not told.
    ``opening`` is what ``open`` made. ``outlier`` is what share of ordinary texts is as far off, where that is told.

    Never changed once an answer has been handed over: the same object stands for every answer with the same head.
    """

    status: int = 0
    content_type: bytes = b"application/json"
    length: int | None = None
    lines: bytes = b""
    opening: bytes = b""
    outlier: float | None = None

    def open(self) -> bytes:
        """The first lines of the answer to a client: the same for every answer with this head."""
        kind = b"" if self.status in BODILESS else b"Content-Type: %b\r\n" % self.content_type
        self.opening = wire.status_line(self.status) + kind + self.lines
        return self.opening

    @property
    def is_event_stream(self) -> bool:
        """Does the body consist of server-sent events?"""
        return self.content_type[:17].lower() == b"text/event-stream" and self.status not in {204, 304}


class Receiver(Protocol):
    """Who waits for an answer."""

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """Further parts of the body came in, in a read that began *at*; *done*: the answer is complete."""

    def broken(self, started: bool) -> None:
        """The connection was lost, or what came is not HTTP; *started*: after the first byte of an answer."""


def one_chunk(data: bytes) -> bytes | None:
    """What *data*, which begins where a chunk does, holds, when it is just one chunk, and not the last.

    A stream sends nearly every event so. None: it is something else, or written in an unusual way.
    """
    start = data.find(b"\r\n", 1, 9) + 2
    size = data[: start - 2]
    if start < 3 or not data.endswith(b"\r\n") or not size.isalnum() or size.startswith(b"0"):
        return None  # the sign, the blank and the 0x that Python would read are no size
    try:
        length = int(size, 16)
    except ValueError:
        return None
    return data[start:-2] if len(data) == start + length + 2 else None


class KnownAnswers:
    """Heads of answers that tell their length, by their bytes: they need not be read twice."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, Head] = {}

    def whole(self, data: bytes) -> tuple[Head, bytes] | None:
        """Head and body, when *data* is one whole answer with a known head."""
        start = data.find(_HEAD_END) + 4
        head = self._heads.get(data[:start])
        if head is None or len(data) - start != head.length:
            return None
        return head, data[start:]

    def keep(self, raw: bytes, head: Head) -> None:
        """*raw* was read as *head*."""
        if len(self._heads) >= _KEPT:
            self._heads.clear()
        self._heads[raw] = head


def _share(value: bytes) -> float:
    share = float(value)
    if not 0.0 < share <= 1.0:
        raise ValueError("no share of ordinary texts")
    return share


class UpstreamConnection(asyncio.Protocol):
    """One connection to one replica, of the pool while nobody uses it."""

    __slots__ = (
        "_between",
        "_clock",
        "_coding",
        "_complete",
        "_fields",
        "_first",
        "_head",
        "_head_known",
        "_head_size",
        "_keep",
        "_known",
        "_parser",
        "_parts",
        "_reading",
        "_receiver",
        "_started",
        "_tokens",
        "_told",
        "_transport",
        "backend",
        "idle_since",
    )

    def __init__(self, backend: Backend, clock: Callable[[], float], known: KnownAnswers) -> None:
        self.backend = backend
        self.idle_since = 0.0
        self._clock = clock
        self._known = known
        self._receiver: Receiver | None = None
        self._transport: asyncio.Transport
        self._parser: Any = httptools.HttpResponseParser(self)
        self._reading = True
        self._started = False
        self._reset()

    def _reset(self) -> None:
        """Nothing of an answer has been read."""
        self._first = b""
        self._head = Head()
        self._fields: list[tuple[bytes, bytes]] = []
        self._tokens = self._coding = b""
        self._head_size = 0
        self._parts: list[bytes] = []
        self._head_known = self._told = self._complete = self._keep = self._between = False

    def send(self, receiver: Receiver, data: bytes) -> None:
        """Write one request; *receiver* hears of the answer."""
        self._receiver = receiver
        self._started = False
        if self._head_known:
            self._reset()
        self._transport.write(data)

    def pause(self) -> None:
        """Read no more until ``resume``: the client is slower than the replica."""
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once; the receiver hears nothing more."""
        self._receiver = None
        self._transport.abort()

    def is_closing(self) -> bool:
        """It cannot carry another request."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close it; nobody waits for an answer on it."""
        self._transport.close()

    # Below: what the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer. Bytes that nobody asked for end the connection."""
        receiver = self._receiver
        if receiver is None:
            self._transport.abort()
            return
        at = self.backend.heard_at = self._clock()
        try:
            if not self._started:
                self._started = True
                whole = self._known.whole(data)
                if whole is not None:
                    self._receiver = None
                    self.backend.give(self, at)
                    receiver.received(whole[0], [whole[1]], True, at)
                    return
                self._reset()
                self._first = data
            elif self._between:
                piece = one_chunk(data)
                if piece is not None:
                    self._told = True
                    receiver.received(self._head, [piece], False, at)
                    return
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self._keep = False
                if not self._complete:
                    self._fail()
                    return
            self._deliver(receiver, at)
        except Exception as error:  # of our own: the loop would only drop the connection, and the receiver wait
            tell(error)
            self._receiver = receiver
            self._fail()

    def eof_received(self) -> None:
        """The replica sends no more; an answer without a length ends so."""
        receiver = self._receiver
        if receiver is not None and self._head_known and self._ends_with_connection():
            self._complete = True
            self._deliver(receiver, self._clock())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._parser = None
        receiver, self._receiver = self._receiver, None
        self.backend.forget(self)
        if receiver is not None:
            receiver.broken(self._started)

    def _deliver(self, receiver: Receiver, at: float) -> None:
        """Hand over what one read brought; the connection may be in use again when the receiver returns."""
        parts, self._parts = self._parts, []
        done = self._complete
        if done:
            self._receiver = None
            if self._keep:
                self.backend.give(self, at)
            else:
                self._transport.close()
        if done or (self._head_known and (parts or not self._told)):
            self._told = True
            receiver.received(self._head, parts, done, at)

    def _fail(self) -> None:
        receiver, self._receiver = self._receiver, None
        self._transport.abort()
        if receiver is not None:
            receiver.broken(self._started)

    def _ends_with_connection(self) -> bool:
        return self._head.length is None and not self._coding

    # Below: what the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of an answer; a second answer to one request is refused."""
        if self._complete:
            raise ValueError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer line, which is dropped."""
        self._head_size += len(name) + len(value)
        if self._head_known:
            return
        if self._head_size > _HEAD_LIMIT:
            raise ValueError("the head is too large")
        name = name.lower()
        if name in _PASSED or name.startswith(_PASSED_BEGINNINGS):
            self._fields.append((name, value))
        elif name == b"content-type":
            self._head.content_type = value
        elif name == b"content-length":
            self._head.length = int(value)
        elif name == b"x-guideway-outlier":
            self._head.outlier = _share(value)
        elif name == b"connection":
            self._tokens += b"," + value.lower()
        elif name == b"transfer-encoding":
            self._coding = value.lower()
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise ValueError("nobody asked for a content encoding, and nobody here reads one")

    def on_headers_complete(self) -> None:
        """The head is whole; heads of interim answers are dropped."""
        status = self._parser.get_status_code()
        if status < 200:
            self._head, self._fields = Head(), []
            self._tokens = self._coding = b""
            return
        if status > 599 or self._coding not in {b"", b"chunked"}:
            raise ValueError("not an answer that can be passed on")
        head = self._head
        head.status = status
        if status in {204, 304}:
            head.length = 0
        if self._fields:
            named = {token.strip() for token in self._tokens.split(b",")}
            head.lines = b"".join(b"%b: %b\r\n" % field for field in self._fields if field[0] not in named)
        self._head_known = True

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._parts.append(piece)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._between = False

    def on_chunk_complete(self) -> None:
        """A chunk is over: what comes next is the size of another one."""
        self._between = True

    def on_message_complete(self) -> None:
        """The last byte of an answer, or of an interim one."""
        if self._head_known:
            self._complete = True
            self._keep = self._parser.should_keep_alive()
            if self._keep and self._head.length is not None and not self._coding:
                self._remember(self._head)

    def _remember(self, head: Head) -> None:
        """Know this head again, if it stood whole and alone at the front of the first read."""
        raw = self._first[: self._first.find(_HEAD_END) + 4]
        alone = raw.startswith(b"HTTP/1.1 %d " % head.status) and raw.count(b"\n") == raw.count(b"\r\n")
        if alone and 4 < len(raw) < _LONGEST and head.status not in {204, 304}:
            self._known.keep(raw, head)


class PipedConnection(UpstreamConnection):
    """A connection whose request goes out piece by piece; ``full`` hears when the other side reads too slowly."""

    __slots__ = ("full",)

    def __init__(self, backend: Backend, clock: Callable[[], float], known: KnownAnswers) -> None:
        super().__init__(backend, clock, known)
        self.full: Callable[[bool], None] | None = None

    def write(self, data: bytes) -> None:
        """A further piece of the request."""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        """What was written piles up."""
        if self.full is not None:
            self.full(True)

    def resume_writing(self) -> None:
        """It has gone out."""
        if self.full is not None:
            self.full(False)


async def connect_unix(path: str, backend: Backend, clock: Callable[[], float]) -> PipedConnection:
    """A new connection to the Unix socket *path*.

    Raises:
        OSError: it cannot be had, or not in time.
    """
    loop = asyncio.get_running_loop()
    with short(Path(path)) as name:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, connection = await loop.create_unix_connection(
                lambda: PipedConnection(backend, clock, KnownAnswers()), name
            )
    return connection


async def connect(
    backend: Backend, clock: Callable[[], float], known: KnownAnswers | None = None
) -> UpstreamConnection:
    """A new connection to *backend*.

    Raises:
        OSError: it cannot be had, or not in time.
        ValueError: the host is no name.
    """
    loop = asyncio.get_running_loop()
    endpoint = backend.endpoint
    async with asyncio.timeout(CONNECT_SECONDS):
        _, connection = await loop.create_connection(
            lambda: UpstreamConnection(backend, clock, known or KnownAnswers()), endpoint.host, endpoint.port
        )
    return connection
