"""What a drill does to processes and stores. Every fault ends by itself or has its end beside it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.launch import Process
from guideway.gateway.cache.address import Address
from guideway.gateway.cache.memcached import Memcached
from guideway.gateway.cache.redis import Redis, command
from guideway.kit.process import is_alive, writers
from guideway.store.home import Home

TALK_WITHIN = 3.0
"""Seconds within which a store must answer us."""


def kill(process: Process) -> bool:
    """kill -9, if it is still the same process; False: it was gone before."""
    return send(process, signal.SIGKILL)


def send(process: Process, number: signal.Signals) -> bool:
    """Send a signal to exactly this process; False: it was gone before."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        if not is_alive(process.pid, process.started):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def controller(home: Home) -> Process | None:
    """The controller of *home* on this machine, found by the log that it writes."""
    for pid, started in writers(home.logs / "controller.log"):
        with contextlib.suppress(OSError):
            if b"guideway.fleet" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return Process(pid, started)
    return None


def pause(address: Address, seconds: float) -> None:
    """Let a Redis answer nobody for *seconds*; it goes on by itself, even if we are killed.

    Raises:
        Unavailable: it cannot be reached.
        GuidewayError: it will not be paused.
    """
    with _talk(address) as talk:
        _tell(talk, Redis(address).hello())
        said = _tell(talk, [command(b"CLIENT", b"PAUSE", b"%d" % int(seconds * 1000), b"ALL")])
    if not said.startswith(b"+"):
        raise GuidewayError(f"the store will not be paused: {said[:80].decode('ascii', 'replace').strip()}")


def emptied(address: Address) -> None:
    """Let a Memcached forget everything.

    Raises:
        Unavailable: it cannot be reached.
        GuidewayError: it refuses.
    """
    with _talk(address) as talk:
        _tell(talk, Memcached(address).hello())
        said = _tell(talk, [b"flush_all\r\n"])
    if said != b"OK\r\n":
        raise GuidewayError(f"the store will not be emptied: {said[:80].decode('ascii', 'replace').strip()}")


@contextlib.contextmanager
def _talk(address: Address) -> Iterator[socket.socket]:
    try:
        plain = socket.create_connection((address.host, address.port), TALK_WITHIN)
        tls = address.tls()
        with tls.wrap_socket(plain, server_hostname=address.host) if tls else plain as talk:
            yield talk
    except OSError as error:
        raise Unavailable(f"the cache cannot be reached: {error.strerror or error}", where=str(address)) from None


def _tell(talk: socket.socket, commands: list[bytes]) -> bytes:
    """Say *commands* one by one; the last line that came back."""
    said = b""
    for one in commands:
        talk.sendall(one)
        said = b""
        while not said.endswith(b"\r\n"):
            piece = talk.recv(4096)
            if not piece:
                raise ConnectionResetError("it hung up")
            said += piece
    return said
