"""One request over HTTP/1.1 to a server that may be slow, lie or never end: bounded in seconds and in bytes.

No proxy of the environment is used, no redirect is followed, nothing is asked twice.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

import httptools

CONNECT_SECONDS = 5.0
SLICE = 0.2
"""Seconds after which it is looked whether anybody still waits for the answer."""
HEAD_LIMIT = 64 * 1024
PIECE = 64 * 1024


class Answer(NamedTuple):
    """An answer, whole."""

    status: int
    body: bytes


class NoAnswer(Exception):
    """Why no whole answer came, as half a sentence. Nothing of what was sent or received is in it."""


def request(method: str, target: str, host: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> bytes:
    """The bytes of a request after which the server closes. *target* and *headers* must be sound."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def call(
    address: tuple[str, int],
    data: bytes,
    *,
    seconds: float,
    limit: int,
    tls: ssl.SSLContext | None = None,
    given_up: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Answer:
    """Send *data*, one request, to *address*; its answer.

    Args:
        seconds: until the whole answer must be there. Looking up a name may take longer than that.
        limit: bytes of the largest body.
        given_up: asked a few times a second; True ends the call.

    Raises:
        NoAnswer: none came, or none that can be used.
    """
    ends = clock() + seconds

    def left() -> float:
        if given_up():
            raise NoAnswer("nobody waits for the answer any more")
        remaining = ends - clock()
        if remaining <= 0.0:
            raise TimeoutError
        return remaining

    try:
        with socket.create_connection(address, min(seconds, CONNECT_SECONDS)) as plain:
            plain.settimeout(left())
            if tls is None:
                return _exchanged(plain, data, left, limit)
            with tls.wrap_socket(plain, server_hostname=address[0]) as sealed:
                return _exchanged(sealed, data, left, limit)
    except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
        raise NoAnswer(_explained(error, seconds)) from None


def _exchanged(connection: socket.socket, data: bytes, left: Callable[[], float], limit: int) -> Answer:
    connection.settimeout(left())
    connection.sendall(data)
    reader = _Reader(limit)
    while not reader.done:
        connection.settimeout(min(left(), SLICE))
        with contextlib.suppress(TimeoutError):
            reader.feed(connection.recv(PIECE))
    return Answer(reader.status, b"".join(reader.parts))


class _Reader:
    """Puts an answer together. Interim ones (1xx) are passed over."""

    def __init__(self, limit: int) -> None:
        self.status = 0
        self.done = False
        self.parts: list[bytes] = []
        self._limit, self._size, self._head = limit, 0, 0
        self._begun = self._until_end = self._framed = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, piece: bytes) -> None:
        """A further *piece*; empty: the server closed."""
        if not piece:
            if not self._until_end:
                raise NoAnswer("the answer ends in the middle" if self._begun else "it hung up without an answer")
            self.done = True
            return
        self._begun = True
        if not self.status:
            self._head += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError:
            if not self.done:  # what follows a whole answer is not part of it
                raise
        if not self.status and self._head > HEAD_LIMIT:
            raise NoAnswer("the head of the answer does not end")
        if self._size > self._limit:
            raise NoAnswer(f"the answer is larger than {self._limit:,} bytes")

    # What the parser tells us.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._framed |= name.lower() in {b"content-length", b"transfer-encoding"}

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.status, self._until_end = status, not self._framed

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= self._limit and not self.done:
            self.parts.append(body)

    def on_message_complete(self) -> None:
        self.done = self.done or bool(self.status)


def _explained(error: Exception, seconds: float) -> str:
    if isinstance(error, socket.gaierror):
        return "there is no host with this name"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return f"no whole answer within {seconds:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS"
    if isinstance(error, OSError):
        return f"the connection broke: {error.strerror or type(error).__name__}"
    return "what answers there does not speak HTTP"
