"""The way of one request: to a replica, once more if that fails before the first byte, and the answer back."""

from __future__ import annotations

import enum
from typing import Protocol

from guideway.gateway import errors, wire
from guideway.gateway.backend import Backend
from guideway.gateway.errors import ApiError
from guideway.gateway.plane import Plane
from guideway.gateway.request import Request
from guideway.gateway.routing import ServingArm
from guideway.gateway.upstream import Head, UpstreamConnection

COLLECT_LIMIT = 1024 * 1024
TRACE = frozenset({b"traceparent", b"tracestate"})


class Client(Protocol):
    """The connection that a request came on."""

    def write(self, data: bytes) -> None:
        """Send *data*."""

    def reply(self, request: Request, error: ApiError, lines: bytes = b"") -> None:
        """Answer *request* with *error*; the exchange is over."""

    def finished(self, keep_alive: bool) -> None:
        """The exchange is over; without *keep_alive* the connection closes when all is sent."""

    def abort(self) -> None:
        """Cut the connection, so that a broken answer cannot be taken for a whole one."""


class Style(enum.Enum):
    """How an answer is passed on."""

    UNKNOWN = 0
    COLLECTED = 1
    LENGTH = 2
    CHUNKED = 3
    CLOSE = 4


class Exchange:
    """One request and its answer. Tells its client when it is over."""

    __slots__ = (
        "_arm",
        "_backend",
        "_begun",
        "_client",
        "_collected",
        "_head",
        "_id",
        "_keep_alive",
        "_plane",
        "_request",
        "_retried",
        "_sent",
        "_size",
        "_style",
        "_tail",
        "_upstream",
        "active",
    )

    def __init__(self, plane: Plane, client: Client, request: Request, begun: float) -> None:
        self._plane, self._client, self._request = plane, client, request
        self._begun = self._sent = self.active = begun
        self._id = plane.new_id()
        self._arm: ServingArm | None = None
        self._backend: Backend | None = None
        self._upstream: UpstreamConnection | None = None
        self._head = Head()
        self._retried = False
        self._style = Style.UNKNOWN
        self._keep_alive = request.keep_alive
        self._collected: list[bytes] = []
        self._size = 0
        self._tail = b""

    # The way there.

    def start(self) -> None:
        """Draw the arm and send the request."""
        self._arm = self._plane.draw()
        self._attempt(avoid=None)

    def _attempt(self, avoid: Backend | None) -> None:
        plane, arm = self._plane, self._arm
        if arm is None:
            self._fail(errors.NO_REPLICA)
            return
        backend = plane.choose(arm, avoid)
        backend.outstanding += 1
        self._backend = backend
        connection = None if self._retried else plane.pooled(backend)  # one that broke is seldom the only stale one
        if connection is None:
            plane.connect(backend, self)
        else:
            self._send(connection)

    def connected(self, connection: UpstreamConnection) -> bool:
        """A connection that this exchange waited for; False when the client left in the meantime."""
        if self._backend is not connection.backend:
            return False
        self._send(connection)
        return True

    def unreachable(self, backend: Backend) -> None:
        """No connection to *backend* could be had."""
        if self._backend is backend:
            self._again()

    def _send(self, connection: UpstreamConnection) -> None:
        request = self._request
        self._upstream = connection
        self._sent = self.active = self._plane.clock()
        connection.send(self, upstream_request(request, connection.backend, self._id))

    def _again(self) -> None:
        """Try once more; safe, for no byte of an answer has come."""
        failed, arm = self._release(), self._arm
        if self._retried or arm is None:
            self._fail(errors.UPSTREAM_BROKE)
            return
        self._retried = True
        self._arm = self._plane.table.again(arm) if self._plane.table else None
        self._attempt(avoid=failed)

    def _release(self) -> Backend | None:
        """Stop counting on the backend of the last attempt."""
        backend, self._backend, self._upstream = self._backend, None, None
        if backend is not None:
            backend.outstanding -= 1
        return backend

    # The way back.

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece of the answer, read *at*."""
        self.active = at
        self._head = head
        if done:
            self._release()
        if self._style in {Style.UNKNOWN, Style.COLLECTED}:
            self._collect(parts, done, at)
        else:
            self._stream(b"", b"".join(parts), done)

    def broken(self, started: bool) -> None:
        """The replica left, or talks garbage."""
        if not started:
            self._again()
            return
        self._release()
        if self._style in {Style.UNKNOWN, Style.COLLECTED}:
            self._fail(errors.UPSTREAM_BROKE)
        else:
            self._cut(errors.UPSTREAM_BROKE)

    def _collect(self, parts: list[bytes], done: bool, at: float) -> None:
        """Hold a short answer until it is whole; one that is long, or made of events, goes on as it comes."""
        self._style = Style.COLLECTED
        self._collected += parts
        self._size += sum(map(len, parts))
        if done:
            body = self._collected[0] if len(self._collected) == 1 else b"".join(self._collected)
            self._client.write(self._render(wire.length(len(body)), at) + body)
            self._over()
        elif self._head.is_event_stream or max(self._head.length or 0, self._size) > COLLECT_LIMIT:
            body, self._collected = b"".join(self._collected), []
            self._begin_stream(body, at)

    def _begin_stream(self, body: bytes, at: float) -> None:
        length = self._head.length
        if length is not None:
            self._style, framing = Style.LENGTH, wire.length(length)
        elif self._request.version == "1.0":
            self._style, framing, self._keep_alive = Style.CLOSE, b"", False
        else:
            self._style, framing = Style.CHUNKED, wire.CHUNKED
        self._stream(self._render(framing, at), body, done=False)

    def _stream(self, head: bytes, body: bytes, done: bool) -> None:
        """One write for all that one read brought."""
        if body:
            self._tail = (self._tail + body)[-2:] if len(body) < 2 else body[-2:]
            body = wire.chunk(body) if self._style is Style.CHUNKED else body
        data = head + body + (wire.LAST_CHUNK if done and self._style is Style.CHUNKED else b"")
        if data:
            self._client.write(data)
        if done:
            self._over()

    def _render(self, framing: bytes, at: float) -> bytes:
        """The head of the answer; *at*: when what it waited for was read."""
        plane, head = self._plane, self._head
        framing = b"" if head.status in {204, 304} else b"Content-Type: %b\r\n%b" % (head.content_type, framing)
        overhead = plane.clock() - at + self._sent - self._begun
        return b"%b%b%b%b%b%b\r\n" % (
            wire.status_line(head.status),
            framing,
            head.lines,
            plane.date,
            self._own_lines(overhead),
            self._connection_line(),
        )

    def _own_lines(self, overhead: float) -> bytes:
        release = b"x-guideway-release: %b\r\n" % self._arm.release.encode() if self._arm else b""
        return b"x-request-id: %b\r\n%bx-guideway-overhead-ms: %.3f\r\n" % (self._id, release, overhead * 1e3)

    def _connection_line(self) -> bytes:
        self._keep_alive = self._keep_alive and not self._plane.draining
        return wire.connection(self._keep_alive, self._request.version)

    # The end.

    def pause(self) -> None:
        """The client reads slowly: stop reading from the replica."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """The client reads again."""
        if self._upstream is not None:
            self._upstream.resume()

    def leave(self) -> None:
        """The client is gone: nobody needs the answer, the replica shall stop at once."""
        connection = self._upstream
        self._release()
        if connection is not None:
            connection.abort()

    def end(self, error: ApiError) -> None:
        """Wait no longer: the replica is too slow, or the worker has to leave."""
        connection = self._upstream
        self._release()
        if connection is not None:
            connection.abort()
        if self._style in {Style.UNKNOWN, Style.COLLECTED}:
            self._fail(error)
        else:
            self._cut(error)

    def _over(self) -> None:
        self._client.finished(self._keep_alive)

    def _fail(self, error: ApiError) -> None:
        self._client.reply(self._request, error, self._own_lines(self._sent - self._begun))

    def _cut(self, error: ApiError) -> None:
        """End an answer that has begun: say so where events allow it, and never as if it were whole."""
        if not self._head.is_event_stream or self._style is Style.LENGTH:
            self._client.abort()
            return
        gap = b"" if self._tail in {b"", b"\n\n"} else b"\n\n"
        self._keep_alive = False
        self._stream(b"", gap + b"data: %b\n\n" % error.body(), done=True)


def upstream_request(request: Request, backend: Backend, id: bytes) -> bytes:
    """The bytes for the replica: the body as it came, and no header of the client but those named here."""
    headers = request.headers
    trace = b""
    for name in TRACE & headers.keys():
        trace += b"%b: %b\r\n" % (name, headers[name])
    return b"%b %b HTTP/1.1\r\nHost: %b\r\nContent-Type: %b\r\nx-request-id: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
        request.method,
        request.path,
        backend.host,
        headers.get(b"content-type", b"application/json"),
        id,
        trace,
        len(request.body),
        request.body,
    )
