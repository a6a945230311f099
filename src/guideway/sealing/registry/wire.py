"""Below the requests: connections that look whom they reached, small answers, and faults in people's words."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from guideway.core.errors import Corrupt, GuidewayError, Refused, SpecError, Unavailable
from guideway.kit.addresses import is_forbidden

Stream = urllib3.BaseHTTPResponse
"""An answer whose body is not read yet."""
TIMEOUT = urllib3.Timeout(connect=10.0, read=30.0)
SMALL = 4 << 20
"""Bytes of the largest answer that is read into memory: manifests, indexes, tokens, lists."""
SLOWEST = 120.0
"""Seconds in which a small answer must have come."""
PIECE = 256 << 10
WHO_ARE_YOU = "--username NAME --password-stdin, or GUIDEWAY_REGISTRY_USER and GUIDEWAY_REGISTRY_PASSWORD"


class Answer(NamedTuple):
    """A small answer, read whole. Header names are small letters."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class SpeaksNoTls(Unavailable):
    """No TLS handshake was possible; a certificate that is not trusted is not among the reasons."""


class Denied(Unavailable):
    """The registry said no, and will say it again."""


class Broken(Unavailable):
    """The connection ended within a body that can be asked for again from where it broke."""


def pools(ca: Path | None, connections: int) -> urllib3.PoolManager:
    """Connections that verify certificates and refuse peers that no registry has; nothing is retried or redirected.

    Raises:
        SpecError: *ca* is not a file with certificates.
    """
    manager = urllib3.PoolManager(
        maxsize=connections, retries=False, timeout=TIMEOUT, ssl_context=_tls(ca), blocksize=PIECE
    )
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
    return manager


def pieces(response: Stream, where: str) -> Iterator[bytes]:
    """The body as it comes.

    Raises:
        Broken: the connection ended before the body did.
    """
    while True:
        try:
            piece = response.read1(PIECE)
        except (HTTPError, OSError) as error:
            fault = explained(error, where)
            raise Broken(fault.what, where=fault.where, try_this=fault.try_this) from None
        if not piece:
            response.release_conn()
            return
        yield piece


def read_small(response: Stream, where: str) -> bytes:
    """The whole body, if it is small.

    Raises:
        Corrupt: it is not, or does not end in time.
        Unavailable: the connection broke.
    """
    data = bytearray()
    give_up = time.monotonic() + SLOWEST
    with contextlib.closing(response):
        for piece in pieces(response, where):
            data += piece
            if len(data) > SMALL or time.monotonic() > give_up:
                raise Corrupt("the registry's answer does not end where it should", where=where)
    return bytes(data)


def explained(error: Exception, where: str) -> GuidewayError:
    """A fault of the connection, without its URL: that can carry what only the registry should see."""
    what, advice = "the connection to the registry broke", "run it again: what came is kept"
    if isinstance(error, NameResolutionError):
        what, advice = "there is no host with this name", "is the reference right?"
    elif isinstance(error, NewConnectionError):  # before the time-outs: it is one of them
        what, advice = "nothing answers at this address", "is the registry running, and the port right?"
    elif isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        what = "the registry does not answer"
    elif isinstance(error, SSLError):
        return _explained_tls(error, where)
    return Unavailable(what, where=where, try_this=advice)


def denied(answer: Answer | Stream, doing: str, where: str) -> GuidewayError:
    """The error for an answer with a status that does not help. The registry's own words are not repeated."""
    reasons = {
        401: ("the registry wants a user name and a password, or refuses these", WHO_ARE_YOU),
        403: ("the registry does not allow it", "ask who runs it for the right to this repository"),
        404: ("the registry does not have it", "is the reference right?"),
        413: ("the registry takes nothing this large", None),
        429: ("the registry has too many requests", "try again later"),
    }
    what, advice = reasons.get(answer.status, (f"the registry answers {answer.status}", "try again later"))
    kind = Unavailable if answer.status == 429 or answer.status >= 500 else Denied
    return kind(f"cannot {doing}: {what}", where=where, try_this=advice)


def _explained_tls(error: SSLError, where: str) -> GuidewayError:
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        what = f"the registry's certificate is not trusted: {cause.verify_message}"
        return Unavailable(what, where=where, try_this="--ca FILE names the authority that signed it")
    what = "the registry does not speak TLS"
    return SpeaksNoTls(what, where=where, try_this="--insecure allows plain HTTP")


def _tls(ca: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (ssl.SSLError, OSError):
        raise SpecError(
            "there is no certificate in this file", where=str(ca), try_this="--ca names a PEM file"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def _check_peer(connection: HTTPConnection) -> None:
    """A name can be made to mean any address: look at the one that was really reached, before anything is sent."""
    peer = connection.sock.getpeername()[0] if connection.sock else ""
    if is_forbidden(peer):
        connection.close()
        raise Refused("this name leads to an address that no registry has", where=f"{connection.host} ({peer})")
