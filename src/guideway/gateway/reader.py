"""Bytes of a client in, requests out: a strict reader of HTTP/1.1 with limits."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import httptools

from guideway.gateway import errors
from guideway.gateway.errors import ApiError
from guideway.gateway.heads import KnownHeads
from guideway.gateway.request import Body, Request

HEAD_LIMIT = 32 * 1024
HEADER_COUNT = 100
TARGET_LIMIT = 4 * 1024
FRAMING_SLACK = 64 * 1024
_WANTED = frozenset(
    b"authorization cache-control content-encoding content-length content-type expect host transfer-encoding "
    b"traceparent tracestate x-guideway-batch x-session-id".split()
)
_ONCE = _WANTED - {b"tracestate", b"cache-control"}
"""All but lists, whose lines mean the same as one line with commas between."""
_HEAD_END = b"\r\n\r\n"


class _Refused(Exception):
    """Stops the parser; the request that is refused is in the queue already."""


class RequestReader:
    """Reads the requests of one connection into ``ready``, in order.

    What is refused goes into ``ready`` too, and after a request whose bytes cannot be trusted nothing more is read.
    ``check`` sees each request when its head is complete, and may refuse it before its body is read. A head that
    was accepted before is known by its bytes in *heads*, and only its body is read.
    """

    __slots__ = (
        "_body",
        "_body_limit",
        "_body_size",
        "_check",
        "_first_head",
        "_head_size",
        "_header_count",
        "_heads",
        "_in_head",
        "_missing",
        "_parser",
        "_raw",
        "_request",
        "_target",
        "finished",
        "partial",
        "ready",
        "wants_continue",
    )

    def __init__(self, check: Callable[[Request], ApiError | None], body_limit: int, heads: KnownHeads) -> None:
        self.ready: deque[Request] = deque()
        self.partial = False
        self.finished = False
        self.wants_continue = False
        self._check = check
        self._body_limit = body_limit
        self._heads = heads
        self._first_head = b""
        self._missing = 0
        self._body: list[bytes] = []
        self._parser: Any = httptools.HttpRequestParser(self)
        self.on_message_begin()
        self.partial = False

    def feed(self, data: bytes) -> None:
        """Read *data*. Afterwards ``ready`` holds what is complete or refused."""
        if self.finished:
            return
        if self._missing:
            data = self._fill(data)
        if not self.partial and data:
            data = self._take_known(data)
        if data:
            self._parse(data)

    def _take_known(self, data: bytes) -> bytes:
        """Take requests with known heads from the front of *data*; what is left has to be parsed."""
        find = self._heads.find
        while True:
            start = data.find(_HEAD_END) + 4
            if start < 4:
                self._first_head = b""
                return data
            head = data[:start]
            request = find(head)
            if request is None:
                self._first_head = head
                return data
            end = start + request.length
            request.body = data[start:end]
            if len(data) < end:
                self._request, self._body = request, [request.body]
                self._missing, self.partial = end - len(data), True
                self._in_head = False
                return b""
            self.ready.append(request)
            if len(data) == end:
                return b""
            data = data[end:]

    def _fill(self, data: bytes) -> bytes:
        """Go on with the body of a request whose head was known; returns what lies behind it."""
        piece = data[: self._missing]
        self._body.append(piece)
        self._missing -= len(piece)
        if not self._missing:
            self._request.body = b"".join(self._body)
            self.partial = False
            self.ready.append(self._request)
        return data[len(piece) :]

    def _parse(self, data: bytes) -> None:
        continued = self.partial
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            if not self.finished:
                raise
        except httptools.HttpParserError as error:
            if not self.finished:
                self._refuse(errors.malformed(f"the request is not sound HTTP/1.1: {error}"))
        else:
            if self.partial and continued:
                self._count(len(data))

    @property
    def begun(self) -> Request | None:
        """The request whose head is there and whose body is not; None: there is none."""
        return self._request if self.partial and not self._in_head else None

    def expire(self) -> None:
        """The request under way did not arrive in time."""
        self._refuse(errors.SLOW_REQUEST)

    def close(self) -> None:
        """Let go of the parser, which holds on to this reader."""
        self.finished = True
        self._parser = None

    def _count(self, size: int) -> None:
        """Bound what the parser may hold: a head without end, or framing without a body."""
        self._raw += size
        if self._in_head:
            if self._raw > HEAD_LIMIT:
                self._refuse(errors.LARGE_HEAD)
        elif self._request.stream is None and self._raw > self._body_limit + FRAMING_SLACK:
            self._refuse(errors.too_large(self._body_limit))

    def _stream(self, request: Request) -> None:
        """Hand over *request* now; its body follows piece by piece."""
        request.stream = Body()
        self.ready.append(request)

    def _refuse(self, refusal: ApiError) -> None:
        request = self._request if self.partial else Request()
        handed_over = self.partial and request.stream is not None
        request.refusal, request.surplus, request.keep_alive = refusal, True, False
        self.finished = True
        self.partial = self.wants_continue = False
        if handed_over and request.stream is not None:
            request.stream.put(b"", True)
        else:
            self.ready.append(request)

    # Below: what the parser calls.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._request = Request()
        self._target = b""
        self._body = []
        self._head_size = self._header_count = self._body_size = self._raw = 0
        self._in_head = self.partial = True

    def on_url(self, piece: bytes) -> None:
        """A piece of the request target."""
        self._target += piece
        if len(self._target) > TARGET_LIMIT:
            self._refuse(errors.LONG_TARGET)
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer line, which is read and dropped."""
        self._head_size += len(name) + len(value)
        self._header_count += 1
        if self._head_size > HEAD_LIMIT or self._header_count > HEADER_COUNT:
            self._refuse(errors.LARGE_HEAD)
            raise _Refused
        name = name.lower()
        if name not in _WANTED or not self._in_head:
            return
        headers = self._request.headers
        if name in headers:
            if name in _ONCE:
                self._refuse(errors.malformed(f"the header {name.decode()} stands there twice"))
                raise _Refused
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is whole: the request may be refused before its body is read."""
        request, parser = self._request, self._parser
        self._in_head = False
        request.method = parser.get_method()
        request.path, request.query = _path_of(self._target)
        request.version = parser.get_http_version()
        refusal = errors.malformed("the connection cannot be upgraded") if parser.should_upgrade() else None
        refusal = refusal or self._check(request)
        if refusal is None:
            request.accepted()
            request.length = int(request.headers.get(b"content-length", b"0"))
            self.wants_continue = b"expect" in request.headers and request.has_body and request.version == "1.1"
            if request.way == "side" and request.has_body:
                self._stream(request)
        elif request.has_body or refusal.status in {400, 505}:
            self._refuse(refusal)
            raise _Refused
        else:
            request.refusal = refusal

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self.wants_continue = False
        stream = self._request.stream
        if stream is not None:
            stream.put(piece, False)
            return
        self._body_size += len(piece)
        if self._body_size > self._body_limit:
            self._refuse(errors.too_large(self._body_limit))
            raise _Refused
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        request, body = self._request, self._body
        request.body = body[0] if len(body) == 1 else b"".join(body)
        request.keep_alive = request.stream is None and self._parser.should_keep_alive()
        head, self._first_head = self._first_head, b""
        if head and request.keep_alive and request.refusal is None and _is_plain(head, request):
            self._heads.keep(head, request)
        self.partial = self.wants_continue = False
        self.finished = not request.keep_alive
        if request.stream is None:
            self.ready.append(request)
        else:
            request.stream.put(b"", True)


def _is_plain(head: bytes, request: Request) -> bool:
    """Are these bytes the whole head and nothing else, do they say where the request ends, and is nothing owed before?

    A head that the parser took from other line ends, or from behind an empty line, does not end where *head* does.
    """
    if request.headers.keys() & {b"transfer-encoding", b"expect"}:
        return False
    return head.startswith(request.method + b" ") and head.count(b"\n") == head.count(b"\r\n")


def _path_of(target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target: of the absolute form only what follows the host."""
    if target[:7].lower() == b"http://":
        _, slash, rest = target[7:].partition(b"/")
        target = slash + rest
    path, _, query = target.partition(b"?")
    return path, query
