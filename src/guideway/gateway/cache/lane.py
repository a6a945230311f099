"""One connection to a shared store: questions go out at once, and the replies come in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

LONGEST_LINE = 64 * 1024


class Reply(msgspec.Struct, frozen=True):
    """What a store says: a value, or that it has none; ``error`` is its complaint, if it has one."""

    value: bytes | None = None
    error: str = ""


LOST = Reply(error="the connection was lost")


class Dialect(Protocol):
    """How to speak to a kind of store."""

    largest: int
    """The longest value that it takes, in bytes."""

    def hello(self) -> list[bytes]:
        """What to say first; each part must be answered without an error."""

    def ping(self) -> bytes:
        """A question that costs nothing."""

    def get(self, name: bytes) -> bytes:
        """Ask for a value."""

    def set(self, name: bytes, value: bytes, seconds: int) -> bytes:
        """Hand over a value that may be forgotten after *seconds*."""

    def parse(self, buffer: bytearray) -> tuple[Reply, int] | None:
        """The first reply in *buffer* and its length, or None while it is not whole.

        Raises:
            ValueError: this is no reply.
        """


class Lane(asyncio.Protocol):
    """A connection. Who asked and lost patience simply ignores the reply, so nothing ever gets out of step."""

    def __init__(self, dialect: Dialect, clock: Callable[[], float]) -> None:
        self.lost = asyncio.Event()
        self.heard = 0.0
        """When it last made progress, on the clock."""
        self._dialect, self._clock = dialect, clock
        self._buffer = bytearray()
        self._waiting: deque[Callable[[Reply], None]] = deque()
        self._transport: asyncio.Transport | None = None

    @property
    def pending(self) -> int:
        """How many replies are outstanding."""
        return len(self._waiting)

    @property
    def unsent(self) -> int:
        """How many bytes lie here because the store does not read."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def ask(self, question: bytes, tell: Callable[[Reply], None]) -> None:
        """Send *question*; *tell* gets the reply, or LOST."""
        if self._transport is None or self.lost.is_set():
            tell(LOST)
            return
        if not self._waiting:
            self.heard = self._clock()
        self._waiting.append(tell)
        self._transport.write(question)

    async def reply(self, question: bytes) -> Reply:
        """Ask, and wait."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.ask(question, lambda reply: None if future.done() else future.set_result(reply))
        return await future

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    # Below: what the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """A piece of a reply, or several replies."""
        self._buffer += data
        self.heard = self._clock()
        try:
            while self._buffer and (found := self._dialect.parse(self._buffer)) is not None:
                reply, size = found
                del self._buffer[:size]
                self._tell(reply)
        except ValueError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; so are the replies that were to come."""
        self.lost.set()
        self._buffer.clear()
        while self._waiting:
            self._waiting.popleft()(LOST)

    def _tell(self, reply: Reply) -> None:
        if not self._waiting:
            raise ValueError("a reply that nobody asked for")
        self._waiting.popleft()(reply)


def line_end(buffer: bytearray, start: int = 0) -> int:
    """Where the line from *start* ends, or -1 while it is not whole.

    Raises:
        ValueError: it is too long for a reply.
    """
    end = buffer.find(b"\r\n", start)
    if (end if end >= 0 else len(buffer)) - start > LONGEST_LINE:
        raise ValueError("the line is too long")
    return end


def size_of(text: bytes | bytearray, largest: int) -> int:
    """A length that a store announces.

    Raises:
        ValueError: it is no number, or more than was ever handed over.
    """
    size = int(text) if text.isdigit() else -1
    if not 0 <= size <= largest:
        raise ValueError("the length makes no sense")
    return size
