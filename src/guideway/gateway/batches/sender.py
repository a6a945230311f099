"""Sends single requests to the gateway's own data port, as one of its clients."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import Any

import httptools
import msgspec

from guideway.gateway.batches.credential import HEADER

ANSWER_LIMIT = 32 * 1024 * 1024
CONNECT_SECONDS = 5.0
READ_BYTES = 64 * 1024


class Answer(msgspec.Struct, frozen=True):
    """What came back. ``retry_after`` is in seconds, None where nothing was said."""

    status: int
    request_id: str
    retry_after: float | None
    body: bytes


class Unreachable(Exception):
    """The gateway cannot be reached; it was asked nothing."""


class Broken(Exception):
    """The connection broke, or the answer made no sense or did not end in time."""


class Address(msgspec.Struct, frozen=True):
    """Where the data port is; with ``tls`` for one that speaks it."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class Sender:
    """Keeps connections for the next line. *address* is asked for every new one, for the port may change."""

    def __init__(self, address: Callable[[], Address], credential: Callable[[str], str], seconds: float) -> None:
        self._address, self._credential, self._seconds = address, credential, seconds
        self._idle: list[_Connection] = []

    async def send(self, key_id: str, path: str, body: bytes) -> Answer:
        """Ask *path* with *body* for the key *key_id*.

        Raises:
            Unreachable: there is no connection, or no credential yet.
            Broken: no whole answer came.
        """
        head = self._head(key_id, path, len(body))
        while self._idle:
            connection = self._idle.pop()
            with contextlib.suppress(_Stale):
                return await self._ask(connection, head + body)
        try:
            return await self._ask(await self._connected(), head + body)
        except _Stale:
            raise Broken from None

    def close(self) -> None:
        """Close what idles."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _head(self, key_id: str, path: str, size: int) -> bytes:
        try:
            credential = self._credential(key_id)
        except ValueError:
            raise Unreachable from None
        return (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"{HEADER}: {credential}\r\nContent-Length: {size}\r\n\r\n"
        ).encode()

    async def _connected(self) -> _Connection:
        try:
            address = self._address()
            async with asyncio.timeout(CONNECT_SECONDS):
                return _Connection(*await asyncio.open_connection(address.host, address.port, ssl=address.tls))
        except (OSError, ValueError):  # a time-out and an error of TLS are an OSError too
            raise Unreachable from None

    async def _ask(self, connection: _Connection, data: bytes) -> Answer:
        try:
            async with asyncio.timeout(self._seconds):
                answer = await connection.ask(data)
        except TimeoutError:
            connection.close()
            raise Broken("the answer did not come in time") from None
        except (OSError, httptools.HttpParserError) as error:
            connection.close()
            if connection.used and not connection.heard:
                raise _Stale from None  # closed while it idled: the gateway may do so at any time
            raise Broken(str(error)) from None
        except BaseException:
            connection.close()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer


class _Stale(Exception):
    pass


class _Connection:
    """One connection; also what its parser calls."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.used = self.heard = self.reusable = False

    async def ask(self, data: bytes) -> Answer:
        """Send a request and read the answer to it."""
        self.heard = self._whole = self.reusable = False
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._size = 0
        parser: Any = httptools.HttpResponseParser(self)
        self._parser = parser
        self._writer.write(data)
        await self._writer.drain()
        while not self._whole:
            piece = await self._reader.read(READ_BYTES)
            if not piece:
                raise ConnectionError("the answer ended early")
            self.heard = True
            parser.feed_data(piece)
            if self._size > ANSWER_LIMIT:
                raise ConnectionError("the answer is too long")
        self.used, self._parser = True, None
        request_id = self._headers.get(b"x-request-id", b"").decode("latin-1")
        return Answer(parser.get_status_code(), request_id, self._retry_after(), b"".join(self._pieces))

    def close(self) -> None:
        """Cut it."""
        self._writer.transport.abort()

    def _retry_after(self) -> float | None:
        value = self._headers.get(b"retry-after", b"")
        return float(value) if value.isdigit() and len(value) < 10 else None

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line of the answer."""
        self._headers[name.lower()] = value

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._size += len(piece)
        if self._size <= ANSWER_LIMIT:
            self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._whole = True
        self.reusable = self._parser.should_keep_alive()  # asked later, it has forgotten
