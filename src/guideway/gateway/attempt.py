"""What is tried to get an answer: one replica, and one more while the client has not been sent a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from guideway.gateway import errors
from guideway.gateway.backend import Backend
from guideway.gateway.budget import RETRIED
from guideway.gateway.errors import ApiError
from guideway.gateway.health import is_fault
from guideway.gateway.prepare import Prepared
from guideway.gateway.record import Record
from guideway.gateway.request import Request
from guideway.gateway.routing import ServingArm
from guideway.gateway.upstream import Head, UpstreamConnection

if TYPE_CHECKING:
    from guideway.gateway.plane import Plane

TRACE = frozenset({b"traceparent", b"tracestate"})


class Asker(Protocol):
    """The exchange that waits for the answer."""

    record: Record
    active: float

    @property
    def begun(self) -> bool:
        """Has the client been sent a part of the answer?"""

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece of the answer."""

    def broken(self, error: ApiError) -> None:
        """There will be no (more) answer."""

    def again(self, arm: ServingArm) -> None:
        """Another replica begins anew, of *arm*."""


class Attempt:
    """The tries of one request. Only the first is scored; whoever else is tried must be paid for from the budget."""

    __slots__ = ("_arm", "_asker", "_backend", "_connection", "_fresh", "_heard", "_plane", "_prepared", "_request")

    def __init__(self, plane: Plane, asker: Asker, request: Request, arm: ServingArm, prepared: Prepared) -> None:
        self._plane, self._asker, self._request, self._arm, self._prepared = plane, asker, request, arm, prepared
        self._backend: Backend | None = None
        self._connection: UpstreamConnection | None = None
        self._fresh = self._heard = False

    def begin(self, now: float, avoid: Backend | None = None) -> None:
        """Choose a replica and send the request."""
        plane = self._plane
        backend = plane.pools.choose(self._arm, avoid, self._prepared.prefix, now)
        if backend is None:
            self._asker.record.failure = self._asker.record.failure or "no replica"
            self._asker.broken(errors.NO_REPLICA)
            return
        backend.begin(now)
        self._backend, self._heard = backend, False
        # One that broke is seldom the only stale one.
        connection = None if self._asker.record.retried else plane.pools.pooled(backend, now)
        self._fresh = connection is None
        if connection is None:
            plane.pools.connect(backend, self)
        else:
            self._send(connection)

    def connected(self, connection: UpstreamConnection) -> bool:
        """A connection that was waited for; False when it is not needed any more."""
        if self._backend is not connection.backend:
            return False
        self._send(connection)
        return True

    def unreachable(self, backend: Backend) -> None:
        """No connection to *backend* could be had."""
        if self._backend is backend:
            self._note(0, "connect")
            self._again(errors.NO_REPLICA)

    def _send(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        asker = self._asker
        asker.record.sent = asker.active = self._plane.clock()
        trace = asker.record.trace
        parent = trace.traceparent if trace is not None else None
        data = upstream_request(self._request, connection.backend, asker.record.id, self._prepared.body, parent)
        connection.send(self, data)

    # What comes back.

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece, read *at*."""
        if not self._heard and self._first(head, done, at):
            return
        if done:
            self._release()
        self._asker.received(head, parts, done, at)

    def _first(self, head: Head, done: bool, at: float) -> bool:
        """Judge the first piece; True when another replica is asked instead."""
        self._heard = True
        backend, status = self._backend, head.status
        record = self._asker.record
        if not record.retried:
            record.first_status = status
        if backend is None:
            return False
        if not is_fault(status):
            backend.answered()
            return False
        backend.failed(at, "status")
        self._note(status, "status")
        if status not in RETRIED or record.retried or not self._plane.budget.take():
            return False
        if not done and self._connection is not None:
            self._connection.abort()
        self._next(self._release(), at)
        return True

    def broken(self, started: bool) -> None:
        """The replica left, or talks garbage; *started*: after the first byte of an answer."""
        backend = self._backend
        if backend is not None and (started or self._fresh):
            backend.failed(self._plane.clock(), "garbage" if started else "broken")
        self._note(0, "broken")
        if self._asker.begun:
            self._release()
            self._asker.broken(errors.UPSTREAM_BROKE)
            return
        self._again(errors.UPSTREAM_BROKE)

    def _again(self, error: ApiError) -> None:
        failed = self._release()
        if self._asker.record.retried or not self._plane.budget.take():
            self._asker.broken(error)
            return
        self._next(failed, self._plane.clock())

    def _next(self, failed: Backend | None, now: float) -> None:
        self._asker.record.retried = True
        table = self._plane.table
        arm = table.again(self._arm) if table is not None else None
        if arm is None:
            self._asker.broken(errors.NO_REPLICA)
            return
        self._arm = arm
        self._asker.again(arm)
        self.begin(now, failed)

    def _note(self, status: int, failure: str) -> None:
        record = self._asker.record
        if not record.retried and not record.failure:
            record.first_status = status
            record.failure = failure  # type: ignore[assignment]

    def _release(self) -> Backend | None:
        """Stop counting on the replica of the last try."""
        backend, self._backend, self._connection = self._backend, None, None
        if backend is not None:
            backend.end()
        return backend

    # What the exchange calls.

    def pause(self) -> None:
        """Read no more for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Read again."""
        if self._connection is not None:
            self._connection.resume()

    def timed_out(self) -> None:
        """The replica did not answer in time."""
        if self._backend is not None:
            self._backend.failed(self._plane.clock(), "time-out")
        self._note(0, "time-out")

    def drop(self) -> None:
        """Nobody needs the answer: let the replica stop."""
        connection = self._connection
        self._release()
        if connection is not None:
            connection.abort()


def upstream_request(
    request: Request, backend: Backend, id: bytes, body: bytes, traceparent: bytes | None = None
) -> bytes:
    """The bytes for the replica: the body, and no header of the client but those named here.

    *traceparent* is that of a span of our own, which stands between the client's and the replica's.
    """
    headers = request.headers
    trace = b""
    for name in TRACE & headers.keys():
        if traceparent is None or name != b"traceparent":
            trace += b"%b: %b\r\n" % (name, headers[name])
    if traceparent is not None:
        trace += b"traceparent: %b\r\n" % traceparent
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
