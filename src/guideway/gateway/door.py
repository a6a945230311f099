"""Where clients come in who speak TLS: each is counted from its first packet, and not when it has shaken hands."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

from guideway.gateway.connection import ClientConnection

SHUTDOWN_SECONDS = 2.0
PAUSE_SECONDS = 0.1
QUEUED = 2048
"""So many may wait to be let in."""


class Door:
    """Accepts on *listening*; *make* gives the connection of a client, which has *seconds* to shake hands."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        make: Callable[[], ClientConnection],
        seconds: float,
    ) -> None:
        """Begin; from a running loop."""
        self._listening, self._context, self._make, self._seconds = listening, context, make, seconds
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more, but for those who wait already: the socket may be closed for good, and they with it."""
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            for _ in range(QUEUED):
                if not self._accept():
                    break
            self._listening.close()

    def _open(self) -> None:
        if self._listening.fileno() >= 0:
            self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> bool:
        """Let one in. False: nobody waits, or nobody can be let in."""
        try:
            given, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):  # somebody else took it, or it has gone again
            return False
        except OSError:  # no descriptor is left: the client waits in the queue of the socket
            self._loop.remove_reader(self._listening)
            self._loop.call_later(PAUSE_SECONDS, self._open)
            return False
        given.setblocking(False)
        client = self._make()
        if client.arrived(_Handshake(given)):
            task = self._loop.create_task(self._shake(given, client))
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)
        else:
            given.close()
            client.connection_lost(None)
        return True

    async def _shake(self, given: socket.socket, client: ClientConnection) -> None:
        inside = None
        with contextlib.suppress(OSError):
            inside, _ = await self._loop.connect_accepted_socket(
                lambda: client,
                given,
                ssl=self._context,
                ssl_handshake_timeout=self._seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        if inside is None or not client.uses(inside):
            client.connection_lost(None)


class _Handshake(asyncio.Transport):
    """What a client stands on while it shakes hands: all that can be done is to end it."""

    def __init__(self, given: socket.socket) -> None:
        super().__init__()
        self._socket = given

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
