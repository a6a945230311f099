"""The bytes of HTTP/1.1 answers."""

from __future__ import annotations

import email.utils
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"

_STATUS_LINES = {status.value: b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


def status_line(status: int) -> bytes:
    """The first line of an answer, with its line end."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Status\r\n" % status


def length(size: int) -> bytes:
    """The header line that tells the size of a body."""
    return b"Content-Length: %d\r\n" % size


def chunk(data: bytes) -> bytes:
    """*data*, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def connection(keep_alive: bool, version: str) -> bytes:
    """The ``Connection`` line, where the default of *version* is not what is meant."""
    if not keep_alive:
        return CLOSE
    return KEEP_ALIVE if version == "1.0" else b""


def date_line(now: float) -> bytes:
    """The ``Date`` header line for *now*, seconds since 1970."""
    return b"Date: %b\r\n" % email.utils.formatdate(now, usegmt=True).encode()
