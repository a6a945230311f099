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

    def failed(self, error: Exception, told: ApiError = errors.INTERNAL) -> None:
        """What nobody foresaw went wrong."""


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
        pools = self._plane.pools
        backend = pools.choose(self._arm, avoid, self._prepared.prefix, now)
        if backend is None:
            self._asker.record.failure = self._asker.record.failure or "no replica"
            self._asker.broken(errors.NO_REPLICA)
            return
        backend.begin(now)
        self._backend, self._heard = backend, False
        # One that broke is seldom the only stale one.
        connection = None if self._asker.record.retried else pools.pooled(backend, now)
        self._fresh = connection is None
        if connection is None:
            pools.connect(backend, self)
        else:
            self._send(connection)

    def connected(self, connection: UpstreamConnection) -> bool:
        """A connection that was waited for; False when it is not needed any more."""
        if self._backend is not connection.backend:
            return False
        try:
            self._send(connection)
        except Exception as error:
            self._asker.failed(error)
        return True

    def unreachable(self, backend: Backend) -> None:
        """No connection to *backend* could be had."""
        try:
            if self._backend is backend:
                self._note(0, "connect")
                self._again(errors.NO_REPLICA)
        except Exception as error:
            self._asker.failed(error)

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
        try:
            backend = self._backend
            if not self._heard and backend is not None:
                self._heard = True
                if not self._asker.record.retried:
                    self._asker.record.first_status = head.status
                if not is_fault(head.status):
                    backend.answered()
                elif self._faulty(backend, head.status, done, at):
                    return
            if done:
                self._release()
            self._asker.received(head, parts, done, at)
        except Exception as error:  # an answer that nobody can look at is not passed on
            self._asker.failed(error, errors.UPSTREAM_BROKE)

    def _faulty(self, backend: Backend, status: int, done: bool, at: float) -> bool:
        """The replica says that it is ill; True when another one is asked instead."""
        backend.failed(at, "status")
        self._note(status, "status")
        if status not in RETRIED or self._asker.record.retried or not self._plane.budget.take():
            return False
        if not done and self._connection is not None:
            self._connection.abort()
        self._next(self._release(), at)
        return True

    def broken(self, started: bool) -> None:
        """The replica left, or talks garbage; *started*: after the first byte of an answer."""
        try:
            self._broken(started)
        except Exception as error:
            self._asker.failed(error)

    def _broken(self, started: bool) -> None:
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

    def elsewhere(self, now: float) -> None:
        """Not a byte came: if the replica was found to stand still and another one does not, ask that one instead."""
        here, record = self._backend, self._asker.record
        if here is None or here.why != "silent" or self._heard or record.retried:
            return
        table = self._plane.table
        arm = table.again(self._arm) if table is not None else None
        others = [one for one in arm.backends if one is not here] if arm is not None else []
        if any(one.ejected_until <= now for one in others) and self._plane.budget.take():
            self._note(0, "time-out")
            if self._connection is not None:
                self._connection.abort()
            self._next(self._release(), now)

    def drop(self) -> None:
        """Nobody needs the answer: let the replica stop."""
        connection = self._connection
        self._release()
        if connection is not None:
            connection.abort()


def upstream_request(
    request: Request, backend: Backend, id: bytes, body: bytes, traceparent: bytes | None = None
) -> bytes:
    """The bytes for the replica: the body, and no header of the client but those that ``Request.accepted`` chose.

    *traceparent* is that of a span of our own, which stands between the client's and the replica's.
    """
    lines = request.lines
    if traceparent is not None:
        lines = b"".join(line for line in lines.splitlines(True) if not line.startswith(b"traceparent:"))
        lines += b"traceparent: %b\r\n" % traceparent
    return b"%b%b\r\n%bx-request-id: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        request.line,
        backend.host,
        lines,
        id,
        len(body),
        body,
    )
