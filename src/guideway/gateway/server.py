"""A worker's listening side: accept, keep the time limits, follow the files, and leave without breaking anything."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol

from guideway.gateway.connection import ClientConnection
from guideway.gateway.crowd import Crowd
from guideway.gateway.door import Door
from guideway.gateway.mishap import tell
from guideway.gateway.plane import Plane
from guideway.gateway.record import Record

BACKLOG = 2048
FOLLOW_SECONDS = 0.02
TICK_SECONDS = 1.0
HANDSHAKE_SECONDS = 10.0
DRAIN_TICK_SECONDS = 0.05


class Identity(Protocol):
    """What a port that speaks TLS shows."""

    context: ssl.SSLContext

    def look(self) -> bool:
        """Take up a certificate that has changed."""


class Followed(Protocol):
    """A file that others change."""

    def look(self) -> bool:
        """Take up what has changed."""


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
        files: tuple[Followed, ...],
        identity: Identity | None = None,
        equipment: Equipment | None = None,
        *,
        most: int | None = None,
    ) -> None:
        """Nothing is accepted yet. At most *most* connections are; without it as many as the options say."""
        self.plane = plane
        self.crowd: Crowd[ClientConnection] = Crowd(most or plane.options.connections, plane.clock)
        plane.reports.under_way = self._under_way
        self._equipment = equipment
        self._identity = identity
        self._files = files
        self._listener: asyncio.Server | Door | None = None
        self._queue: socket.socket | None = None
        self._follower: asyncio.TimerHandle | None = None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> set[ClientConnection]:
        """Those that are open."""
        return self.crowd.members

    def _under_way(self) -> list[Record]:
        """What is noted of the requests that replicas are to answer."""
        return [record for one in self.crowd.members if (record := one.under_way) is not None]

    async def listen(self, listening: socket.socket) -> None:
        """Accept connections, with an identity only encrypted ones; the files are read once before."""
        self._follow()
        self._tick()
        if self._equipment is not None:
            self._equipment.start()
        if self._identity is not None:
            listening.listen(BACKLOG)
            self._listener = Door(listening, self._identity.context, self._connection, HANDSHAKE_SECONDS)
            return
        self._queue = listening.dup()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connection, sock=listening, backlog=BACKLOG)

    def _connection(self) -> ClientConnection:
        return ClientConnection(self.plane, self.crowd)

    async def drain(self, seconds: float) -> int:
        """Stop accepting, let requests under way end, close connections as they fall idle.

        Returns the number of connections that had to be cut after *seconds*.
        """
        self.plane.draining = True
        await self._shut()
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

    async def _shut(self) -> None:
        """Accept no more, but for those who wait already: the socket may be closed for good, and they with it."""
        if self._listener is not None:
            self._listener.close()
        queue, self._queue = self._queue, None
        if queue is None:
            return
        loop = asyncio.get_running_loop()
        with queue, contextlib.suppress(OSError):
            queue.setblocking(False)
            for _ in range(BACKLOG):
                await loop.connect_accepted_socket(self._connection, queue.accept()[0])

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
