"""A candidate in shadow: it gets copies of requests, its answers are read, compared and dropped.

Nothing of it reaches a client, and nothing waits for it: few copies run at once, one that cannot be sent is not sent,
none is tried again, and one that takes too long is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from guideway.core.outcome import Failure
from guideway.gateway import usage
from guideway.gateway.backend import Backend
from guideway.gateway.upstream import Head, UpstreamConnection
from guideway.gateway.usage import Usage

COPIES = 8
SECONDS = 60.0
TEXT_LIMIT = 256 * 1024
"""Bytes of an answer whose text is compared; a longer one is only counted."""
ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer that goes on for ever."""


class Comparison(msgspec.Struct, frozen=True):
    """A shadow's answer beside the real one; lengths of bodies in bytes, times in milliseconds since it was sent.

    ``status`` 0: no answer came, and ``failure`` says why. ``first`` is when the first piece of it came. ``same`` None:
    the texts were not compared, for they were streamed, long, or errors.
    """

    status: int
    real_status: int
    length: int
    real_length: int
    latency: float
    same: bool | None = None
    first: float | None = None
    stream: bool = False
    failure: Failure = ""
    usage: Usage | None = None


class Pool(Protocol):
    """Where connections to replicas come from."""

    def pooled(self, backend: Backend, now: float) -> UpstreamConnection | None:
        """One that waits for work."""

    def connect(self, backend: Backend, waiter: Shadow) -> None:
        """Make one; the waiter hears of it."""


class Shadows:
    """The copies that one worker has under way."""

    def __init__(self, pool: Pool, clock: Callable[[], float], *, copies: int = COPIES) -> None:
        self.skipped = 0
        self.running: set[Shadow] = set()
        self._pool, self._clock, self._copies = pool, clock, copies

    def copy(self, backend: Backend, data: bytes, told: Callable[[Comparison], None]) -> Shadow | None:
        """Send *data* to *backend*; *told* hears how its answer compares. None: there are enough under way."""
        now = self._clock()
        if len(self.running) >= self._copies or backend.ejected_until > now or backend.down_until > now:
            self.skipped += 1
            return None
        made = Shadow(self, backend, data, told, now)
        self.running.add(made)
        backend.begin(now)
        connection = self._pool.pooled(backend, now)
        if connection is None:
            self._pool.connect(backend, made)
        else:
            made.connected(connection)
        return made

    def look(self) -> None:
        """Cut those that take too long."""
        now = self._clock()
        for one in [one for one in self.running if now - one.begun > SECONDS]:
            one.expire()

    def close(self) -> None:
        """The worker leaves: cut all."""
        for one in tuple(self.running):
            one.cut()

    def ended(self, one: Shadow) -> float:
        """*one* runs no more; returns the time."""
        self.running.discard(one)
        return self._clock()


class Shadow:
    """One copy. It waits for two answers, its own and the real one, in whatever order they come."""

    __slots__ = (
        "_connection",
        "_data",
        "_ended",
        "_failure",
        "_first",
        "_length",
        "_parts",
        "_real",
        "_shadows",
        "_status",
        "_stream",
        "_told",
        "backend",
        "begun",
    )

    def __init__(
        self, shadows: Shadows, backend: Backend, data: bytes, told: Callable[[Comparison], None], begun: float
    ) -> None:
        self.backend, self.begun = backend, begun
        self._shadows, self._data, self._told = shadows, data, told
        self._connection: UpstreamConnection | None = None
        self._parts: list[bytes] | None = []
        self._status = self._length = 0
        self._ended = self._first = -1.0
        self._stream = False
        self._failure: Failure = ""
        self._real: tuple[int, int, bytes | None] | None = None

    # The real answer.

    def real(self, status: int, length: int, body: bytes | None = None) -> None:
        """The client has its answer; *body* is given when it was sent whole."""
        self._real = (status, length, body)
        self._compare()

    def cut(self) -> None:
        """Nobody wants to know any more: the client left, or the worker leaves."""
        self._told = _nobody
        self.expire()

    def expire(self) -> None:
        """Wait no longer; the comparison says that no answer came."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._fail("time-out")

    # The shadow's answer.

    def connected(self, connection: UpstreamConnection) -> bool:
        """A connection is there."""
        if self._ended >= 0.0:
            return False
        self._connection = connection
        connection.send(self, self._data)
        return True

    def unreachable(self, backend: Backend) -> None:
        """There is none to *backend*."""
        if backend is self.backend:
            self._fail("connect")

    def received(self, head: Head, parts: list[bytes], done: bool, at: float) -> None:
        """A further piece, read *at*."""
        self._status, self._stream = head.status, head.is_event_stream
        if self._first < 0.0:
            self._first = at
        self._length += sum(map(len, parts))
        if self._length > ANSWER_LIMIT:
            self.expire()
            return
        if self._length > TEXT_LIMIT:
            self._parts = None
        if self._parts is not None:
            self._parts += parts
        if done:
            self.backend.answered()
            self._end()

    def broken(self, started: bool) -> None:
        """Its connection was lost, or what came is not HTTP."""
        del started
        self._fail("broken")

    def _fail(self, why: Failure) -> None:
        if self._ended < 0.0:
            self._status, self._failure = 0, why
        self._end()

    def _end(self) -> None:
        if self._ended < 0.0:
            self._ended = self._shadows.ended(self)
            self._connection = None
            self.backend.end()
            self._compare()

    def _compare(self) -> None:
        if self._ended < 0.0 or self._real is None:
            return
        status, length, body = self._real
        told, self._told = self._told, _nobody
        told(
            Comparison(
                self._status,
                status,
                self._length,
                length,
                self._since(self._ended),
                self._equals(body) if self._status == status == 200 else None,
                self._since(self._first) if self._first >= 0.0 else None,
                self._stream,
                self._failure or ("status" if self._status >= 500 else ""),
                self._usage(),
            )
        )

    def _since(self, at: float) -> float:
        return (at - self.begun) * 1e3

    def _equals(self, body: bytes | None) -> bool | None:
        if self._parts is None or self._stream or body is None:
            return None
        expected = texts(body)
        return None if expected is None else texts(b"".join(self._parts)) == expected

    def _usage(self) -> Usage | None:
        if self._parts is None or self._status != 200:
            return None
        said = b"".join(self._parts)
        if self._stream:
            return usage.of_events(said, strip=False)[0]
        told = usage.read(said)
        return told.usage if told is not None else None


def _nobody(_: Comparison) -> None:
    """Hears, and does nothing."""


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")
    tool_calls: msgspec.Raw = msgspec.Raw(b"null")


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Answer).decode


def texts(body: bytes) -> list[tuple[str, str, str, str]] | None:
    """What an answer says, without ids, times and counts; None: it is no answer of a model."""
    try:
        return [_said(choice) for choice in _decode(body).choices]
    except (msgspec.DecodeError, RecursionError):
        return None


def _said(choice: _Choice) -> tuple[str, str, str, str]:
    message = choice.message or _Message()
    return (
        choice.text or "",
        repr(msgspec.json.decode(message.content)),
        repr(_without_ids(msgspec.json.decode(message.tool_calls))),
        choice.finish_reason or "",
    )


def _without_ids(calls: object) -> object:
    if not isinstance(calls, list):
        return calls
    return [{name: value for name, value in call.items() if name != "id"} for call in calls if isinstance(call, dict)]
