"""A small HTTP/1.1 server for a handful of handlers: keep-alive, limits, streams with back-pressure.

The gateway has a data plane of its own; this one serves replicas.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

import httptools

BODY_LIMIT = 8 * 1024 * 1024
HEADER_LIMIT = 32 * 1024


class Request(NamedTuple):
    """One request, whole. Header names are small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Response(NamedTuple):
    """An answer: a whole body, or pieces as they come (sent chunked)."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = "application/json"


Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """Listens on one address until closed. ``port`` is the real one when 0 was asked for."""

    def __init__(self, handler: Handler, *, body_limit: int = BODY_LIMIT) -> None:
        self._handler, self._body_limit = handler, body_limit
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind and accept.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._handler, self._body_limit, self._connections), host, port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def drain(self, grace: float) -> None:
        """Accept no more, let running answers end for *grace* seconds, then close."""
        if self._server:
            self._server.close()
        for connection in tuple(self._connections):
            connection.end_after_answer()
        tasks = [connection.task for connection in self._connections if connection.task]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        for connection in tuple(self._connections):
            connection.close()


class _Connection(asyncio.Protocol):
    """One client. Requests are answered one after the other; reading pauses meanwhile."""

    def __init__(self, handler: Handler, body_limit: int, connections: set[_Connection]) -> None:
        self._handler, self._body_limit, self._connections = handler, body_limit, connections
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: list[Request] = []
        self._keep = True
        self.task: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        self._url, self._headers, self._parts = b"", {}, []  # type: tuple[bytes, dict[str, str], list[bytes]]
        self._size, self._header_size = 0, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._writable.set()
        if self.task:
            self.task.cancel()  # the client left: whoever works for it stops

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(400)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value)
        if self._header_size > HEADER_LIMIT:
            self._refuse(431)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._body_limit:
            self._refuse(413)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        path = self._url.decode("latin-1").partition("?")[0]
        method = self._parser.get_method().decode("ascii")
        self._keep = self._keep and self._parser.should_keep_alive()
        self._waiting.append(Request(method, path, self._headers, b"".join(self._parts)))
        self._begin()
        self._next()

    def end_after_answer(self) -> None:
        """Close once the running answer is out; at once when there is none."""
        self._keep = False
        if self.task is None:
            self.close()

    def close(self) -> None:
        """Close now."""
        self._transport.close()

    def _refuse(self, status: int) -> None:
        if not self._transport.is_closing():
            self._transport.write(_head(status, "text/plain", 0, keep=False))
            self._transport.close()

    def _next(self) -> None:
        if self.task is None and self._waiting and not self._transport.is_closing():
            self._transport.pause_reading()
            self.task = asyncio.get_running_loop().create_task(self._answer(self._waiting.pop(0)))
            self.task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if task.cancelled() or task.exception() or not self._keep:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.resume_reading()
            self._next()

    async def _answer(self, request: Request) -> None:
        self._transport.resume_reading()  # only to learn that the client leaves; the next request waits in line
        response = await self._handler(request)
        if isinstance(response.body, bytes):
            head = _head(response.status, response.content_type, len(response.body), keep=self._keep)
            self._transport.write(head + response.body)
            return
        self._transport.write(_head(response.status, response.content_type, None, keep=self._keep))
        async with contextlib.aclosing(response.body) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await self._writable.wait()
        self._transport.write(b"0\r\n\r\n")


def _head(status: int, content_type: str, length: int | None, *, keep: bool) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    connection = "keep-alive" if keep else "close"
    reason = HTTPStatus(status).phrase
    return (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n{size}\r\nConnection: {connection}\r\n\r\n"
    ).encode("latin-1")
