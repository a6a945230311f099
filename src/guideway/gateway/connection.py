"""The connection of a client: requests in order, one answer at a time, and time limits for those who dawdle."""

from __future__ import annotations

import asyncio
from typing import Literal, cast

from guideway.gateway import errors, paths, wire
from guideway.gateway.crowd import Crowd
from guideway.gateway.errors import ApiError
from guideway.gateway.exchange import Exchange
from guideway.gateway.judging import Judging
from guideway.gateway.mishap import tell
from guideway.gateway.plane import Plane
from guideway.gateway.reader import RequestReader
from guideway.gateway.record import Record
from guideway.gateway.request import Request, unasked
from guideway.gateway.side import SideExchange

HEAD_SECONDS = 10.0
"""For the first head of a connection, and where TLS is spoken for shaking hands too."""
REQUEST_SECONDS = 60.0
IDLE_SECONDS = 75.0
STALL_SECONDS = 60.0
STUCK_SECONDS = 5.0
"""For so long an answer is waited for at a replica that was found to stand still: it may only be busy."""
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
        "_crowd",
        "_deferred",
        "_discarded",
        "_exchange",
        "_held",
        "_lingering",
        "_paused",
        "_plane",
        "_read_at",
        "_reader",
        "_reading",
        "_since",
        "_standing",
        "_transport",
    )

    def __init__(self, plane: Plane, crowd: Crowd[ClientConnection]) -> None:
        self._plane, self._crowd = plane, crowd
        self._standing: Literal["new", "stranger", "known"] = "new"
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
        given = cast(asyncio.Transport, transport)
        given.set_write_buffer_limits(high=WRITE_BUFFER)
        if not self.arrived(given):
            self.reply(unasked(), errors.CROWDED)

    def data_received(self, data: bytes) -> None:
        """Bytes of the client."""
        if self._lingering:
            self._discard(len(data))
            return
        self._read_at = self._plane.clock()
        reader = self._reader
        was_partial = reader.partial
        try:
            reader.feed(data)
            if self._standing != "known":
                self._meet()
            if reader.partial and not was_partial and self._exchange is None and self._standing != "new":
                self._since = self._read_at
            self._advance()
        except Exception as error:
            tell(error)
            self.abort()

    def eof_received(self) -> None:
        """The client sends no more: it has left, for no client of this API closes one half and waits."""
        self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._crowd.leave(self)
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

    # What the crowd and its door call.

    def arrived(self, transport: asyncio.Transport) -> bool:
        """It stands on *transport* for now. False: there are too many."""
        self._transport = transport
        return self._crowd.join(self)

    def uses(self, transport: asyncio.BaseTransport) -> bool:
        """Does it stand on *transport*?"""
        return self._transport is transport

    @property
    def under_way(self) -> Record | None:
        """What is noted of the request that a replica is to answer, if there is one."""
        return self._exchange.record if isinstance(self._exchange, Exchange) else None

    def idle_since(self) -> float | None:
        """Since when it has waited for its next request; None: one is under way."""
        return self._since if self._exchange is None and not self._reader.partial else None

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
        try:
            self._leave()
        finally:
            self._transport.abort()

    # The requests, in order.

    def _meet(self) -> None:
        """Note the first head that could be read, and the first key that counts."""
        reader = self._reader
        heads = [*reader.ready, reader.begun] if reader.begun is not None else [*reader.ready]
        if heads and self._standing == "new":
            self._standing, self._since = "stranger", self._read_at
        if any(head.key is not None for head in heads):
            self._standing = "known"
            self._crowd.know(self)

    def _advance(self) -> None:
        """Deal with the requests that are whole, until one has to be waited for."""
        if self._advancing:
            return
        self._advancing = True
        ready = self._reader.ready
        while ready and self._exchange is None and not self._paused and not self._transport.is_closing():
            if self._plane.admission.crowded and self._must_wait(ready[0]):
                break
            request = ready.popleft()
            try:
                self._serve(request)
            except Exception as error:
                self._failed(request, error)
        self._advancing = False
        if ready or not self._reading:
            ahead = sum(len(request.body) + (request.stream.size if request.stream else 0) for request in ready)
            self._throttle(self._held or len(ready) > PIPELINE or ahead > READ_AHEAD)
        if self._reader.wants_continue and self._exchange is None and not ready:
            self._reader.wants_continue = False
            self.write(wire.CONTINUE)

    def _must_wait(self, request: Request) -> bool:
        """Is *request* to be looked at later, for more come than can be served?"""
        self._deferred = self._deferred or self._plane.turns.defers(self, request)
        return self._deferred

    def go_on(self) -> None:
        """The request that had to wait has its turn."""
        self._deferred = False
        self._advance()

    def _serve(self, request: Request) -> None:
        if request.refusal is None and request.way != "replica":
            self._serve_here(request)
            return
        wanted = request.refusal or self._plane.admit(request)
        if isinstance(wanted, ApiError):
            id = self._plane.new_id(None, request.owner)
            self._plane.reports.refused(request, wanted, id)
            self.reply(request, wanted, b"x-request-id: %b\r\n" % id)
            return
        self._exchange = exchange = Exchange(self._plane, self, request, wanted, self._read_at)
        try:
            exchange.start()
        except Exception as error:
            exchange.failed(error)

    def _serve_here(self, request: Request) -> None:
        """Answer what needs no replica."""
        if request.way == "side":
            self._exchange = side = self._plane.side(self, request)
            side.start(self._plane.service(request.path), self._plane.line.meter)
            if self._reader.wants_continue and self._exchange is side:
                self._reader.wants_continue = False
                self.write(wire.CONTINUE)
        elif request.way == "feedback":
            self._exchange = judging = Judging(self, request, self._plane.clock())
            judging.start(self._plane)
        else:
            self._respond(request, *self._plane.page(request), self._plane.id_line(request))

    def _failed(self, request: Request, error: Exception) -> None:
        """What nobody foresaw went wrong at the beginning of *request*."""
        tell(error)
        if self._exchange is None:
            self.reply(request, errors.INTERNAL, self._plane.id_line(request))
        else:
            self.abort()

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
            self._check_answer(now - self._exchange.active, now)
        elif self._deferred:
            pass  # its turn comes
        elif self._reader.partial:
            if waited > (HEAD_SECONDS if self._standing == "new" else REQUEST_SECONDS):
                self._reader.expire()
                self._advance()
        elif waited > self._patience():
            if self._transport.is_closing():
                self._transport.abort()  # what it was to be sent does not get through
            else:
                self._transport.close()

    def _check_answer(self, waited: float, now: float) -> None:
        if self._exchange is not None and waited > self._plane.options.routing.timeout:
            self._exchange.end(errors.UPSTREAM_SLOW)
        elif isinstance(self._exchange, Exchange) and waited > STUCK_SECONDS:
            self._exchange.elsewhere(now)

    def _patience(self) -> float:
        """How long it may be idle, in seconds."""
        if self._plane.draining:
            return DRAIN_IDLE_SECONDS
        return HEAD_SECONDS if self._standing == "new" else IDLE_SECONDS
