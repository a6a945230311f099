"""What one worker knows of one replica: its load, its failures, its idle connections."""

from __future__ import annotations

from typing import Protocol

from guideway.core.route import Endpoint

EJECT_AFTER = 3
EJECT_SECONDS = 1.0
IDLE_SECONDS = 4.0
IDLE_CONNECTIONS = 256


class Connection(Protocol):
    """A connection that can wait in the pool."""

    idle_since: float

    def is_closing(self) -> bool:
        """It cannot carry another request."""

    def close(self) -> None:
        """Close it; nobody waits for an answer on it."""


class Backend:
    """One endpoint. Times are seconds of the worker's clock."""

    __slots__ = ("_failures", "_idle", "_retired", "ejected_until", "endpoint", "host", "outstanding")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        name = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self.host = f"{name}:{endpoint.port}".encode()
        self.outstanding = 0
        self.ejected_until = 0.0
        self._failures = 0
        self._idle: list[Connection] = []
        self._retired = False

    def connected(self) -> None:
        """A connection was made: earlier failures no longer count."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """No connection could be made; after three in a row the endpoint is left alone for a second."""
        self._failures += 1
        if self._failures >= EJECT_AFTER:
            self.ejected_until = now + EJECT_SECONDS

    def take(self, now: float) -> Connection | None:
        """The connection that was used last, unless it waited so long that the replica may be closing it."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closing() and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def give(self, connection: Connection, now: float) -> None:
        """Keep *connection* for the next request."""
        if self._retired or len(self._idle) >= IDLE_CONNECTIONS:
            connection.close()
            return
        connection.idle_since = now
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """*connection* is gone."""
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now: float) -> None:
        """Close the connections that nobody needed for a while."""
        while self._idle and now - self._idle[0].idle_since >= IDLE_SECONDS:
            self._idle.pop(0).close()

    def retire(self) -> None:
        """The route names this endpoint no more: what is in flight ends, nothing is kept."""
        self._retired = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
