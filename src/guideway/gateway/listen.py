"""The listening sockets: one for each worker, all on one address."""

from __future__ import annotations

import errno
import socket

from guideway.core.errors import Unavailable

BACKLOG = 2048


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """*count* listening sockets on one address; *port* 0 takes a free one.

    Raises:
        Unavailable: the address cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        if port:
            _refuse_if_taken(family, host, port)
        for _ in range(count):
            sockets.append(_listening(family, host, port))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for one in sockets:
            one.close()
        raise _unavailable(error, host, port) from None
    return sockets


def _refuse_if_taken(family: int, host: str, port: int) -> None:
    """Ask for the port alone: a shared one would let a second gateway in beside the first."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _listening(family: int, host: str, port: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, port))
        one.listen(BACKLOG)
    except OSError:
        one.close()
        raise
    return one


def _unavailable(error: OSError, host: str, port: int) -> Unavailable:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        advice = "stop the program that listens there, or set another gateway port in guideway.yaml"
        return Unavailable(f"port {port} is in use", where=where, try_this=advice)
    if error.errno == errno.EACCES:
        return Unavailable(f"port {port} needs more rights", where=where, try_this="set a gateway port above 1023")
    advice = "set gateway.host to an address of this machine, such as 127.0.0.1"
    return Unavailable(f"cannot listen: {error.strerror or error}", where=where, try_this=advice)
