"""A worker's listening side: accept, keep the time limits, follow the files, and leave without breaking anything."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Protocol

from guideway.gateway.connection import ClientConnection
from guideway.gateway.follow import FollowedFile
from guideway.gateway.mishap import tell
from guideway.gateway.plane import Plane

BACKLOG = 2048
FOLLOW_SECONDS = 0.02
TICK_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0
SHUTDOWN_SECONDS = 2.0
DRAIN_TICK_SECONDS = 0.05


class Identity(Protocol):
    """What a port that speaks TLS shows."""

    context: ssl.SSLContext

    def look(self) -> bool:
        """Take up a certificate that has changed."""


class Equipment(Protocol):
    """What runs beside the requests."""

    def start(self) -> None:
        """Begin; from a running loop."""

    def close(self) -> None:
        """End; after the last request."""


class Server:
    """Serves the connections of one listening socket from the state in *plane*; without *identity*, in clear."""

    def __init__(
        self,
        plane: Plane,
        files: tuple[FollowedFile, ...],
        identity: Identity | None = None,
        equipment: Equipment | None = None,
    ) -> None:
        self.plane = plane
        self._equipment = equipment
        self._identity = identity
        self.connections: set[ClientConnection] = set()
        self._files = files
        self._listener: asyncio.Server | None = None
        self._follower: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Accept connections, with an identity only encrypted ones; the files are read once before."""
        self._follow()
        self._tick()
        if self._equipment is not None:
            self._equipment.start()
        loop = asyncio.get_running_loop()
        identity = self._identity
        self._listener = await loop.create_server(
            lambda: ClientConnection(self.plane, self.connections),
            sock=listening,
            backlog=BACKLOG,
            ssl=identity.context if identity else None,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if identity else None,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS if identity else None,
        )

    async def drain(self, seconds: float) -> int:
        """Stop accepting, let requests under way end, close connections as they fall idle.

        Returns the number of connections that had to be cut after *seconds*.
        """
        self.plane.draining = True
        if self._listener is not None:
            self._listener.close()
        deadline = self.plane.clock() + seconds
        while self.connections and self.plane.clock() < deadline:
            self.check()
            await asyncio.sleep(DRAIN_TICK_SECONDS)
        left = list(self.connections)
        for connection in left:
            connection.end()
        if left:
            await asyncio.sleep(DRAIN_TICK_SECONDS)
        for connection in list(self.connections):
            connection.abort()
        for timer in (self._follower, self._ticker):
            if timer is not None:
                timer.cancel()
        if self._equipment is not None:
            self._equipment.close()
        return len(left)

    def check(self) -> None:
        """Apply the time limits to every connection."""
        now = self.plane.clock()
        for connection in tuple(self.connections):
            try:
                connection.check(now)
            except Exception as error:  # one that cannot be checked must not keep time from the others
                tell(error)
                connection.abort()

    def _follow(self) -> None:
        for file in self._files:
            file.look()
        self._follower = asyncio.get_running_loop().call_later(FOLLOW_SECONDS, self._follow)

    def _tick(self) -> None:
        self.plane.tick()
        self.check()
        if self._identity is not None:
            self._identity.look()
        self._ticker = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)
