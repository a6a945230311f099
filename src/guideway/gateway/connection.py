"""The connection of a client: requests in order, one answer at a time, and time limits for those who dawdle."""

from __future__ import annotations

import asyncio
from typing import cast

from guideway.gateway import errors, paths, wire
from guideway.gateway.errors import ApiError
from guideway.gateway.exchange import Exchange
from guideway.gateway.judging import Judging
from guideway.gateway.plane import Plane
from guideway.gateway.reader import RequestReader
from guideway.gateway.request import Request
from guideway.gateway.side import SideExchange

REQUEST_SECONDS = 60.0
IDLE_SECONDS = 75.0
STALL_SECONDS = 60.0
LINGER_SECONDS = 2.0
LINGER_BYTES = 16 * 1024 * 1024
DRAIN_IDLE_SECONDS = 0.5
PIPELINE = 16
READ_AHEAD = 64 * 1024
WRITE_BUFFER = 64 * 1024


class ClientConnection(asyncio.Protocol):
    """One connection. While a request is under way, reading goes on, for only so do we see that the client left."""

    __slots__ = (
        "_advancing",
        "_deferred",
        "_discarded",
        "_exchange",
        "_held",
        "_lingering",
        "_open",
        "_paused",
        "_plane",
        "_read_at",
        "_reader",
        "_reading",
        "_since",
        "_transport",
    )

    def __init__(self, plane: Plane, open_connections: set[ClientConnection]) -> None:
        self._plane, self._open = plane, open_connections
        self._reader = RequestReader(plane.check, plane.body_limit, plane.heads)
        self._exchange: Exchange | SideExchange | Judging | None = None
        self._transport: asyncio.Transport
        self._since = self._read_at = plane.clock()
        self._paused = self._lingering = self._advancing = self._held = self._deferred = False
        self._reading = True
        self._discarded = 0

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._lingering:
            self._discard(len(data))
            return
        self._read_at = self._plane.clock()
        reader = self._reader
        was_partial = reader.partial
        reader.feed(data)
        if reader.partial and not was_partial and self._exchange is None:
            self._since = self._read_at
        self._advance()

    def eof_received(self) -> None:
        """The client sends no more: it has left, for no client of this API closes one half and waits."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._open.discard(self)
        self._leave()
        self._reader.close()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._paused = True
        self._since = self._plane.clock()
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._since = self._plane.clock()
        if self._exchange is not None:
            self._exchange.resume()
        else:
            self._advance()

    # What the exchange calls.

    def write(self, data: bytes) -> None:
        """Send *data*, unless the client left."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def answer(self, request: Request, status: int, body: bytes) -> None:
        """Answer *request* ourselves; it is dealt with then."""
        self._respond(request, status, body, self._plane.id_line(request))

    def reply(self, request: Request, error: ApiError, lines: bytes = b"") -> None:
        """Answer *request* with *error*; it is dealt with then."""
        self._respond(request, error.status, paths.error_body(request.path, error), error.lines + lines)

    def finished(self, keep_alive: bool) -> None:
        """The request is dealt with."""
        self._exchange = None
        self._held = False
        self._since = self._read_at = self._plane.clock()
        if not keep_alive:
            self._transport.close()
        elif self._reader.ready or self._reader.wants_continue or not self._reading:
            self._advance()

    def end(self) -> None:
        """The worker leaves: tell the client, if it waits for an answer."""
        if self._exchange is not None:
            self._exchange.end(errors.DRAINED)

    def hold(self, full: bool) -> None:
        """Whoever takes the body of the present request is slower than its client: read no more while *full*."""
        self._held = full
        self._throttle(full)

    def abort(self) -> None:
        """Cut the connection."""
        self._leave()
        self._transport.abort()

    # The requests, in order.

    def _advance(self) -> None:
        """Deal with the requests that are whole, until one has to be waited for."""
        if self._advancing:
            return
        self._advancing = True
        ready = self._reader.ready
        while ready and self._exchange is None and not self._paused and not self._transport.is_closing():
            if self._plane.admission.crowded and self._must_wait(ready[0]):
                break
            self._serve(ready.popleft())
        self._advancing = False
        if ready or not self._reading:
            ahead = sum(len(request.body) + (request.stream.size if request.stream else 0) for request in ready)
            self._throttle(self._held or len(ready) > PIPELINE or ahead > READ_AHEAD)
        if self._reader.wants_continue and self._exchange is None and not ready:
            self._reader.wants_continue = False
            self.write(wire.CONTINUE)

    def _must_wait(self, request: Request) -> bool:
        """Is *request* to be looked at later, for more come than can be served?"""
        self._deferred = self._deferred or self._plane.crowd.defers(self, request)
        return self._deferred

    def go_on(self) -> None:
        """The request that had to wait has its turn."""
        self._deferred = False
        self._advance()

    def _serve(self, request: Request) -> None:
        refusal = request.refusal
        if refusal is None and paths.is_side(request.path):
            self._exchange = self._plane.side(self, request)
            if self._reader.wants_continue:
                self._reader.wants_continue = False
                self.write(wire.CONTINUE)
            return
        if refusal is None and not paths.is_forwarded(request.path, request.method):
            self._respond(request, *self._plane.page(request), self._plane.id_line(request))
            return
        if refusal is None and request.path == paths.FEEDBACK:
            self._exchange = judging = Judging(self, request, self._plane.clock())
            judging.start(self._plane)
            return
        wanted = refusal or self._plane.admit(request)
        if isinstance(wanted, ApiError):
            self.reply(request, wanted, self._plane.id_line(request))
            return
        exchange = Exchange(self._plane, self, request, wanted, self._read_at)
        self._exchange = exchange
        exchange.start()

    def _respond(self, request: Request, status: int, body: bytes, lines: bytes = b"") -> None:
        """Send a whole answer of our own."""
        keep_alive = request.keep_alive and not self._plane.draining
        head = b"%bContent-Type: application/json\r\n%b%b%b%b\r\n" % (
            wire.status_line(status),
            wire.length(len(body)),
            self._plane.date,
            lines,
            wire.connection(keep_alive, request.version),
        )
        self.write(head if request.method == b"HEAD" else head + body)
        if request.surplus:
            self.linger()
        else:
            self.finished(keep_alive)

    def _throttle(self, full: bool) -> None:
        """Read no more from a client that has sent many requests ahead."""
        if full is not self._reading or self._transport.is_closing():
            return
        self._reading = not full
        if full:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # The end.

    def _leave(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.leave()

    def linger(self) -> None:
        """Close only after the client had time to read: closing on unread bytes would destroy the answer."""
        self._exchange = None
        self._held = False
        self._lingering = True
        self._since = self._plane.clock()
        self._throttle(full=False)
        if not self._transport.is_closing() and self._transport.can_write_eof():  # TLS knows no half of a connection
            self._transport.write_eof()

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self._transport.abort()

    def check(self, now: float) -> None:
        """Apply the time limits at *now*."""
        waited = now - self._since
        if self._lingering:
            if waited > LINGER_SECONDS:
                self._transport.abort()
        elif self._paused:
            if waited > STALL_SECONDS:
                self.abort()
        elif self._exchange is not None:
            if now - self._exchange.active > self._plane.options.routing.timeout:
                self._exchange.end(errors.UPSTREAM_SLOW)
        elif self._deferred:
            pass  # its turn comes
        elif self._reader.partial:
            if waited > REQUEST_SECONDS:
                self._reader.expire()
                self._advance()
        elif waited > (DRAIN_IDLE_SECONDS if self._plane.draining else IDLE_SECONDS):
            if self._transport.is_closing():
                self._transport.abort()  # what it was to be sent does not get through
            else:
                self._transport.close()
