"""The listening sockets: one for each worker, all on one address."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
import struct
from collections.abc import Sequence

from guideway.core.errors import Unavailable

BACKLOG = 2048
_ATTACH, _DETACH = 51, 68
"""SO_ATTACH_REUSEPORT_CBPF and SO_DETACH_REUSEPORT_BPF of Linux, which Python has no names for."""
_LOAD, _MODULO, _RETURN = 0x20, 0x94, 0x16
"""Classic BPF: load a word, divide by a constant and keep the rest, return it: the number of the socket."""
_RANDOM = 0xFFFFF000 + 56
"""The place from which a program loads a random word."""


def bind(host: str, port: int, count: int, *, ours: bool = False, listen: bool = True) -> list[socket.socket]:
    """*count* sockets on one address; *port* 0 takes a free one.

    *ours*: we hold the port ourselves already. Without *listen* nobody can connect until a worker listens, so that no
    client waits for one that never comes.

    Raises:
        Unavailable: the address cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        if port and not ours:
            _refuse_if_taken(family, host, port)
        for _ in range(count):
            sockets.append(_bound(family, host, port, listen))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for one in sockets:
            one.close()
        raise _unavailable(error, host, port) from None
    return sockets


def check_free(host: str, port: int) -> None:
    """Refuse an address on which nobody could listen now.

    Raises:
        Unavailable: the address cannot be had.
    """
    bind(host, port, 0)


def steer(sockets: Sequence[socket.socket]) -> None:
    """Send new connections only to *sockets*, those of their address that listened first, in this order.

    Where the kernel cannot do that, it spreads them as before.
    """
    lines = [(_LOAD, _RANDOM), (_MODULO, len(sockets)), (_RETURN, 0)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", code, 0, 0, value) for code, value in lines))
    with contextlib.suppress(OSError):
        given = struct.pack("HL", len(lines), ctypes.addressof(program))
        sockets[0].setsockopt(socket.SOL_SOCKET, _ATTACH, given)


def steer_no_more(sockets: Sequence[socket.socket]) -> None:
    """Spread new connections over all of *sockets* again."""
    with contextlib.suppress(OSError):
        sockets[0].setsockopt(socket.SOL_SOCKET, _DETACH, 0)


def _refuse_if_taken(family: int, host: str, port: int) -> None:
    """Ask for the port alone: a shared one would let a second gateway in beside the first."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _bound(family: int, host: str, port: int, listen: bool) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((host, port))
        if listen:
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
