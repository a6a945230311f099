"""The way of one request: to a replica, again if that fails before the first byte, and the answer back."""

from __future__ import annotations

from typing import Protocol

from guideway.gateway import errors, usage, wire
from guideway.gateway.answer import Answer
from guideway.gateway.backend import Backend
from guideway.gateway.errors import ApiError
from guideway.gateway.plane import Plane
from guideway.gateway.record import Record
from guideway.gateway.request import Peek, Request, asking_for_usage
from guideway.gateway.routing import ServingArm
from guideway.gateway.upstream import Head, UpstreamConnection

TRACE = frozenset({b"traceparent", b"tracestate"})
RETRIED = frozenset({502, 503, 504})
"""What a replica says when it could not do the work; another one may."""


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


class Exchange:
    """One request and its answer. Tells its client when it is over, and the plane what became of it."""

    __slots__ = (
        "_answer",
        "_arm",
        "_backend",
        "_client",
        "_plane",
        "_request",
        "_upstream",
        "_wanted",
        "active",
        "record",
    )

    def __init__(self, plane: Plane, client: Client, request: Request, wanted: Peek, begun: float) -> None:
        self._plane, self._client, self._request, self._wanted = plane, client, request, wanted
        self.active = begun
        self.record = Record(plane.new_id(), begun, request.key, wanted.model, bool(wanted.stream))
        self._arm: ServingArm | None = None
        self._backend: Backend | None = None
        self._upstream: UpstreamConnection | None = None
        self._answer: Answer | None = None

    # The way there.

    def start(self) -> None:
        """Draw the arm and send the request."""
        self._arm = arm = self._plane.draw()
        if arm is not None:
            self.record.arm, self.record.release = arm.name, arm.release
        self._attempt(avoid=None)

    def _attempt(self, avoid: Backend | None) -> None:
        plane, arm = self._plane, self._arm
        if arm is None:
            self._fail(errors.NO_REPLICA)
            return
        backend = plane.choose(arm, avoid, self.active)
        backend.outstanding += 1
        self._backend = backend
        # One that broke is seldom the only stale one.
        connection = None if self.record.retried else plane.pooled(backend, self.active)
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
            self._again(errors.UPSTREAM_BROKE)

    def _send(self, connection: UpstreamConnection) -> None:
        self._upstream = connection
        self.record.sent = self.active = self._plane.clock()
        connection.send(self, upstream_request(self._request, connection.backend, self.record.id, self._body()))

    def _body(self) -> bytes:
        """What the replica is sent; a stream is asked to tell its usage, for that is what is counted."""
        wanted, body = self._wanted, self._request.body
        return asking_for_usage(body) if wanted.stream and wanted.stream_options is None else body

    def _again(self, error: ApiError) -> None:
        """Try once more, which is safe while the client has not been sent a byte; else fail with *error*."""
        failed, arm = self._release(), self._arm
        if self.record.retried or arm is None:
            self._fail(error)
            return
        self.record.retried = True
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
        answer = self._answer
        if answer is None:
            if head.status in RETRIED and not self.record.retried:
                self._drop()
                self._again(errors.UPSTREAM_BROKE)
                return
            if done:
                self._whole(head, parts[0] if len(parts) == 1 else b"".join(parts), at)
                return
            strip = bool(self._wanted.stream) and self._wanted.stream_options is None
            self._answer = answer = Answer(self, head, self._request.version, strip=strip)
        if done:
            self._release()
        answer.feed(parts, done, at)

    def _whole(self, head: Head, body: bytes, at: float) -> None:
        """The answer came in one piece, as nearly all do."""
        self._release()
        record = self.record
        record.first = at
        record.usage = usage.of_body(body)
        framing = wire.length(len(body))
        self._client.write(self.render(head, framing, at) + body)
        self.over(head.status)

    def broken(self, started: bool) -> None:
        """The replica left, or talks garbage; *started*: after the first byte of an answer."""
        answer = self._answer
        if answer is None or not answer.begun:
            self._answer = None
            self._again(errors.UPSTREAM_BROKE)
            return
        self._release()
        self._cut(answer, errors.UPSTREAM_BROKE)

    # What the answer calls.

    def write(self, data: bytes) -> None:
        """Send *data* to the client."""
        self._client.write(data)

    def render(self, head: Head, framing: bytes, at: float, *, keep_alive: bool = True) -> bytes:
        """The head of the answer with the lines *framing*; *at*: when what it waited for was read."""
        plane, record, request = self._plane, self.record, self._request
        framing = b"" if head.status in {204, 304} else b"Content-Type: %b\r\n%b" % (head.content_type, framing)
        request.keep_alive = request.keep_alive and keep_alive and not plane.draining
        record.ended = plane.clock()
        record.overhead = record.ended - at + record.sent - record.begun
        return b"%b%b%b%b%b%b\r\n" % (
            wire.status_line(head.status),
            framing,
            head.lines,
            plane.date,
            self._own_lines(),
            wire.connection(request.keep_alive, request.version),
        )

    def over(self, status: int) -> None:
        """The answer is out."""
        self.record.status = status
        if self._answer is not None:
            self.record.ended = self._plane.clock()
        self._plane.finished(self.record)
        self._client.finished(self._request.keep_alive)

    def spoiled(self, error: ApiError) -> None:
        """The answer cannot be passed on."""
        answer = self._answer
        self._drop()
        if answer is None or not answer.begun:
            self._fail(error)
        else:
            self._cut(answer, error)

    def _own_lines(self) -> bytes:
        record = self.record
        release = b"x-guideway-release: %b\r\n" % record.release.encode() if record.release else b""
        return b"x-request-id: %b\r\n%bx-guideway-overhead-ms: %.3f\r\n" % (record.id, release, record.overhead * 1e3)

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
        self._drop()
        self._finish(499)

    def end(self, error: ApiError) -> None:
        """Wait no longer: the replica is too slow, or the worker has to leave."""
        self.spoiled(error)

    def _drop(self) -> None:
        """Let the replica stop."""
        connection = self._upstream
        self._release()
        if connection is not None:
            connection.abort()

    def _fail(self, error: ApiError) -> None:
        record = self.record
        record.overhead = max(record.sent - record.begun, 0.0)
        self._finish(error.status, error)
        self._client.reply(self._request, error, self._own_lines())

    def _cut(self, answer: Answer, error: ApiError) -> None:
        """End an answer that has begun: say so where events allow it, and never as if it were whole."""
        self._finish(error.status, error)
        farewell = answer.farewell(error)
        if farewell is None:
            self._client.abort()
            return
        self._client.write(farewell)
        self._client.finished(False)

    def _finish(self, status: int, error: ApiError | None = None) -> None:
        record = self.record
        record.status, record.ended = status, self._plane.clock()
        record.error = error.code or "" if error else ""
        self._plane.finished(record)


def upstream_request(request: Request, backend: Backend, id: bytes, body: bytes) -> bytes:
    """The bytes for the replica: the body, and no header of the client but those named here."""
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
        len(body),
        body,
    )
