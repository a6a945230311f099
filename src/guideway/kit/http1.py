"""A small HTTP/1.1 server for a handful of handlers: keep-alive, limits, streams with back-pressure.

A handler is a coroutine from :class:`Request` to :class:`Response`. A client that leaves cancels it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple, cast

import httptools

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a request's body."""
HEADER_LIMIT = 32 * 1024
"""Bytes of the target and all headers of a request."""
IDLE_LIMIT = 75.0
"""Seconds that a connection may lie still between two requests, or within one."""
IN_LINE = 8
"""Requests that a client may send ahead of the answers before we stop reading."""
FAREWELL = 2.0
"""Seconds in which a refused client may read why, before its connection is closed."""

log = logging.getLogger(__name__)


class Request(NamedTuple):
    """One request, whole. ``path`` is without the query; header names are small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Response(NamedTuple):
    """An answer: a whole body, or pieces as they come (sent chunked). Pieces with ``aclose`` are always closed."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]
Refusal = Callable[[int], Response]
"""The answer to what never becomes a request (400, 413, 431), and to a handler that fails (500)."""


def plain_refusal(status: int) -> Response:
    """The reason as one line of text."""
    return Response(status, HTTPStatus(status).phrase.encode() + b"\n", "text/plain")


class Server:
    """Listens on one address until it is drained. ``port`` is the real one when 0 was asked for."""

    def __init__(
        self,
        handler: Handler,
        *,
        refusal: Refusal = plain_refusal,
        body_limit: int = BODY_LIMIT,
        idle_limit: float = IDLE_LIMIT,
    ) -> None:
        self.handler, self.refusal = handler, refusal
        self.body_limit, self.idle_limit = body_limit, idle_limit
        self.connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None
        self.port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind and accept.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Connection(self), host, port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def start_on(self, listening: socket.socket) -> None:
        """Accept on a Unix socket that listens already."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(lambda: _Connection(self), sock=listening)

    async def drain(self, grace: float) -> None:
        """Accept no more; let running answers end for *grace* seconds, then cut them off."""
        if self._listener:
            self._listener.close()
        for connection in tuple(self.connections):
            connection.end_after_answer()
        if tasks := [connection.task for connection in self.connections if connection.task]:
            await asyncio.wait(tasks, timeout=grace)
        for connection in tuple(self.connections):
            connection.close()


class _Connection(asyncio.Protocol):
    """One client. Its requests are answered one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._line: deque[tuple[Request, bool]] = deque()
        self._refused = False
        self._last = False
        self._timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self._begin()

    # What the loop tells us.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)
        self._wait_for_client()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._stop_waiting()
        self._writable.set()
        if self.task:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(HTTPStatus.BAD_REQUEST)

    # What the parser tells us.

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_header(len(name) + len(value))
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        length = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > self._server.body_limit:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        elif self._headers.get("expect", "").lower() == "100-continue" and not self._refused:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._server.body_limit:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        path = self._url.decode("latin-1").partition("?")[0]
        method = self._parser.get_method().decode("ascii")
        request = Request(method, path, self._headers, b"".join(self._parts))
        self._line.append((request, self._parser.should_keep_alive()))
        self._begin()
        if len(self._line) >= IN_LINE:
            self._transport.pause_reading()
        self._next()

    # What we do.

    def end_after_answer(self) -> None:
        """Close once the running answer is out; at once when there is none."""
        self._last = True
        if self.task is None:
            self.close()

    def close(self) -> None:
        """Close now, whatever runs."""
        if self.task:
            self._transport.abort()
        else:
            self._transport.close()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._size = self._header_size = 0

    def _count_header(self, size: int) -> None:
        self._header_size += size
        if self._header_size > HEADER_LIMIT:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refuse(self, status: int) -> None:
        """Say why, take nothing more, and close when the client had time to read."""
        if self._refused or self._transport.is_closing():
            return
        self._refused = True
        self._parts.clear()
        if self.task:  # an earlier request is still being answered: nothing can be said in between
            self._last = True
            return
        self._transport.write(_whole(self._server.refusal(status), keep=False, head=False))
        self._stop_waiting()
        self._timer = self._loop.call_later(FAREWELL, self._transport.close)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _next(self) -> None:
        if self.task is None and self._line and not self._transport.is_closing():
            self._stop_waiting()
            request, keep = self._line.popleft()
            self.task = self._loop.create_task(self._answer(request, keep and not self._last))
            self.task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self.task = None
        if task.cancelled() or self._transport.is_closing():
            self._transport.abort()
        elif error := task.exception():
            log.error("an answer broke off", exc_info=error)
            self._transport.abort()
        elif self._last:
            self._transport.close()
        else:
            self._transport.resume_reading()
            self._wait_for_client()
            self._next()

    async def _answer(self, request: Request, keep: bool) -> None:
        try:
            response = await self._server.handler(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            response = self._server.refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
        keep = keep and not self._last
        self._last = not keep
        if isinstance(response.body, bytes):
            self._transport.write(_whole(response, keep=keep, head=request.method == "HEAD"))
            await self._writable.wait()
        else:
            await self._stream(response, response.body, keep)

    async def _stream(self, response: Response, pieces: AsyncIterator[bytes], keep: bool) -> None:
        try:
            self._transport.write(_head(response, None, keep=keep))
            async for piece in pieces:
                if piece:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await self._writable.wait()
            self._transport.write(b"0\r\n\r\n")
        finally:
            if close := getattr(pieces, "aclose", None):
                await close()

    def _wait_for_client(self) -> None:
        self._stop_waiting()
        self._timer = self._loop.call_later(self._server.idle_limit, self._transport.close)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


def _whole(response: Response, *, keep: bool, head: bool) -> bytes:
    """Head and body as one piece of bytes; a HEAD request gets no body."""
    assert isinstance(response.body, bytes)
    return _head(response, len(response.body), keep=keep) + (b"" if head else response.body)


def _head(response: Response, length: int | None, *, keep: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {int(response.status)} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
