"""Requests about files, batches and explanations: passed on to the process beside the workers that answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from guideway.core.route import Endpoint
from guideway.gateway import errors, paths, wire
from guideway.gateway.answer import Answer
from guideway.gateway.backend import Backend
from guideway.gateway.errors import ApiError
from guideway.gateway.limits.toll import Measure, Toll
from guideway.gateway.mishap import tell
from guideway.gateway.record import Record
from guideway.gateway.request import Request
from guideway.gateway.upstream import Head, PipedConnection, connect_unix

PATIENCE_SECONDS, PAUSE_SECONDS = 8.0, 0.05
"""How long a service is waited for that is exchanged, and the pause between two tries: the one before may drain."""
_PASSED = (b"content-type", b"accept")


class Uploader(Protocol):
    """The connection that the request came on."""

    def write(self, data: bytes) -> None:
        """Send *data*."""

    def reply(self, request: Request, error: ApiError, lines: bytes = b"") -> None:
        """Answer *request* with *error*; the exchange is over."""

    def finished(self, keep_alive: bool) -> None:
        """The exchange is over."""

    def abort(self) -> None:
        """Cut the connection."""

    def linger(self) -> None:
        """The exchange is over, but the client is still sending."""

    def hold(self, full: bool) -> None:
        """Read no more from the client while *full*."""


class SideExchange:
    """One request to the service on the Unix socket *path*. Its body flows as fast as the slower side reads."""

    __slots__ = (
        "_answer",
        "_client",
        "_clock",
        "_connection",
        "_date",
        "_gone",
        "_request",
        "_task",
        "_toll",
        "active",
        "record",
    )

    def __init__(self, client: Uploader, request: Request, id: bytes, date: bytes, clock: Callable[[], float]) -> None:
        self._client, self._request, self._clock, self._date = client, request, clock, date
        self.active = clock()
        self.record = Record(request.path, self.active, self.active, request.key, "", id=id)
        self._answer: Answer | None = None
        self._connection: PipedConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._toll: Toll | None = None
        self._gone = False

    def start(self, path: str, meter: Measure) -> None:
        """Connect, and pass on what the client sends. A new file or batch, or an explanation, counts as one request."""
        self._client.hold(True)
        key = self._request.key
        if key is not None and self._request.method == b"POST" and self._request.path in paths.COUNTED:
            self._toll = Toll(meter, key, lambda refusal: self._go(path, refusal))
        else:
            self._go(path, None)

    def _go(self, path: str, refusal: ApiError | None) -> None:
        if refusal is not None:
            self._fail(refusal)
        else:
            self._task = asyncio.get_running_loop().create_task(self._open(path))

    async def _open(self, path: str) -> None:
        backend = Backend(Endpoint("batches", 0))
        backend.retire()
        try:
            connection = await self._connected(path, backend)
        except Exception as error:  # whatever it is, the client waits
            if not isinstance(error, OSError):
                tell(error, self.record.id)
            self._fail(errors.NO_SERVICE)
            return
        if self._gone:
            connection.abort()
            return
        self._connection = connection
        connection.full = self._client.hold
        connection.send(self, service_request(self._request, self.record.id))
        self._client.hold(False)
        if self._request.stream is not None:
            self._request.stream.take(self._piece)

    async def _connected(self, path: str, backend: Backend) -> PipedConnection:
        """Connect; where nobody is, wait for who follows: the service is exchanged when its settings change.

        Raises:
            OSError: nobody came in time.
        """
        deadline = self._clock() + PATIENCE_SECONDS
        while True:
            try:
                return await connect_unix(path, backend, self._clock)
            except OSError:
                if self._gone or self._clock() > deadline:
                    raise
            await asyncio.sleep(PAUSE_SECONDS)

    def _piece(self, piece: bytes, ended: bool) -> None:
        self.active = self._clock()
        connection = self._connection
        if connection is None:
            return
        if self._request.refusal is not None:
            self.spoiled(self._request.refusal)
        elif b"transfer-encoding" not in self._request.headers:
            connection.write(piece)
        else:
            connection.write((wire.chunk(piece) if piece else b"") + (wire.LAST_CHUNK if ended else b""))

    # The way back.

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece of the answer."""
        self.active = at
        if self._answer is None:
            self._answer = Answer(self, head, self._request.version)
        if done:
            self._connection = None
        try:
            self._answer.feed(parts, done, at)
        except Exception as error:
            tell(error, self.record.id)
            self.spoiled(errors.NO_SERVICE)

    def broken(self, started: bool) -> None:
        """The service is gone."""
        self._connection = None
        self.spoiled(errors.NO_SERVICE)

    @property
    def writer(self) -> Callable[[bytes], None]:
        """What sends bytes to the client."""
        return self._client.write

    def render(self, head: Head, framing: bytes, at: float, *, keep_alive: bool = True) -> bytes:
        """The head of the answer."""
        request = self._request
        unread = request.stream is not None and not request.stream.ended
        request.keep_alive = request.keep_alive and keep_alive and not unread
        request.surplus = unread
        framing = b"" if head.status in {204, 304} else b"Content-Type: %b\r\n%b" % (head.content_type, framing)
        return b"%b%b%b%bx-request-id: %b\r\n%b\r\n" % (
            wire.status_line(head.status),
            framing,
            head.lines,
            self._date,
            self.record.id,
            wire.connection(request.keep_alive, request.version),
        )

    def keep(self, head: Head, body: bytes) -> None:
        """Nobody else may have it."""

    def whole(self, head: Head, body: bytes, at: float) -> None:
        """The answer is there in one piece."""
        self._client.write(self.render(head, wire.length(len(body)), at) + body)
        self.over(head.status)

    def let_go(self) -> None:
        """Nothing more is wanted of the service."""

    def over(self, status: int) -> None:
        """The answer is out."""
        self._close()
        if self._request.surplus:
            self._client.linger()
        else:
            self._client.finished(self._request.keep_alive)

    def spoiled(self, error: ApiError) -> None:
        """The answer cannot be passed on."""
        answer = self._answer
        self._close()
        if answer is None or not answer.begun:
            self._fail(error)
        else:
            self._client.abort()

    # The end.

    def pause(self) -> None:
        """The client reads slowly."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """The client reads again."""
        if self._connection is not None:
            self._connection.resume()

    def leave(self) -> None:
        """The client is gone."""
        self._gone = True
        if self._toll is not None:
            self._toll.drop()
        self._close()

    def end(self, error: ApiError) -> None:
        """Wait no longer."""
        self.spoiled(error)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if self._request.stream is not None:
            self._request.stream.drop()

    def _fail(self, error: ApiError) -> None:
        if self._gone:
            return
        self._request.surplus = self._request.stream is not None and not self._request.stream.ended
        self._client.reply(self._request, error, b"x-request-id: %b\r\n" % self.record.id)


def service_request(request: Request, id: bytes) -> bytes:
    """The head for the service: who asks stands in headers that no client can set, for theirs are not passed on."""
    key, headers = request.key, request.headers
    assert key is not None
    lines = b"".join(b"%b: %b\r\n" % (name, headers[name]) for name in _PASSED if name in headers)
    if b"transfer-encoding" in headers:
        lines += wire.CHUNKED
    elif request.has_body:
        lines += wire.length(request.length)
    target = request.path + (b"?" + request.query if request.query else b"")
    models = ",".join(key.models).encode()
    return b"%b %b HTTP/1.1\r\nHost: batches\r\nx-request-id: %b\r\n%b%b%b%bConnection: close\r\n\r\n" % (
        request.method,
        target,
        id,
        b"x-guideway-owner: %b\r\n" % key.owner.encode(),
        b"x-guideway-key: %b\r\n" % key.id.encode(),
        b"x-guideway-models: %b\r\n" % models,
        lines,
    )
