"""What workers and the limiter say to each other: lists of messages in MessagePack, each list after its length."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from guideway.gateway.limits.amounts import NOTHING, Amounts, Budget, Used
from guideway.gateway.limits.windows import Period

LIMIT = 16 * 1024 * 1024
_LENGTH = struct.Struct("!I")


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """About one key."""

    key: str


class Ask(Message, frozen=True):
    """Worker: *need* is what the first waiting request needs, *want* what all that wait need."""

    budget: Budget
    need: Amounts
    want: Amounts


class Report(Message, frozen=True):
    """Worker: of the leases of *minute*, *closed* is over, and *unused* of it can be used by others.

    *held* is what requests under way have reserved now; *recalled*: this answers a ``Recall``.
    """

    minute: int
    closed: Amounts = NOTHING
    unused: Amounts = NOTHING
    held: Amounts = NOTHING
    recalled: bool = False


class Spent(Message, frozen=True):
    """Worker: what requests used since the last such message; for keys without limits too."""

    used: Used


class Grant(Message, frozen=True):
    """Limiter: a lease, good for the *left* seconds until *minute* ends."""

    minute: int
    left: float
    amounts: Amounts


class Refuse(Message, frozen=True):
    """Limiter: there is not enough of the amount number *short* in this *period*.

    *remaining* is what others could still get of it; it begins anew in *left* seconds. A client should come again
    after *retry* seconds; for *hold* seconds asking again is of no use.
    """

    period: Period
    short: int
    remaining: Amounts
    left: float
    retry: float
    hold: float


class Recall(Message, frozen=True):
    """Limiter: give back what you do not use of this key: somebody else needs it."""


class Unavailable(Message, frozen=True):
    """Limiter: the rows cannot be reached, so nothing can be granted."""


FromWorker = Ask | Report | Spent
FromLimiter = Grant | Refuse | Recall | Unavailable

Decoder = msgspec.msgpack.Decoder[Any]
FROM_WORKER: Decoder = msgspec.msgpack.Decoder(list[FromWorker])
FROM_LIMITER: Decoder = msgspec.msgpack.Decoder(list[FromLimiter])
_encode = msgspec.msgpack.Encoder().encode


def framed(messages: Sequence[Message]) -> bytes:
    """The bytes of one list."""
    data = _encode(messages)
    return _LENGTH.pack(len(data)) + data


class Frames(asyncio.Protocol):
    """A connection that carries lists of messages. What is sent in one turn of the loop leaves in one write."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._buffer = b""
        self._out: list[Message] = []
        self._transport: asyncio.Transport | None = None

    def heard(self, message: Any) -> None:
        """One message came."""
        raise NotImplementedError

    def send(self, message: Message) -> None:
        """Send *message* at the end of this turn of the loop; nobody hears it when the connection is gone."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(message)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes; those that make no sense end the connection."""
        self._buffer += data
        try:
            while (whole := self._next()) is not None:
                for message in whole:
                    self.heard(message)
        except ValueError:
            if self._transport is not None:
                self._transport.abort()

    def _next(self) -> list[Any] | None:
        """The next list that is whole."""
        head = _LENGTH.size
        if len(self._buffer) < head:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > LIMIT:
            raise ValueError("the list is too long")
        if len(self._buffer) < head + length:
            return None
        data, self._buffer = self._buffer[head : head + length], self._buffer[head + length :]
        found: list[Any] = self._decoder.decode(data)
        return found

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(out))
