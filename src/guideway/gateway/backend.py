"""What one worker knows of one replica: its load, how it fares, its idle connections."""

from __future__ import annotations

from typing import Protocol

from guideway.core.route import Endpoint
from guideway.gateway.affinity import salt_of
from guideway.gateway.health import Health

IDLE_SECONDS = 4.0
IDLE_CONNECTIONS = 256


class Connection(Protocol):
    """A connection that can wait in the pool."""

    idle_since: float

    def is_closing(self) -> bool:
        """It cannot carry another request."""

    def close(self) -> None:
        """Close it; nobody waits for an answer on it."""


class Backend(Health):
    """One endpoint. Times are seconds of the worker's clock; ``salt`` is its place among others for one prefix."""

    __slots__ = ("_idle", "_retired", "busy_since", "endpoint", "heard_at", "host", "outstanding", "salt")

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__()
        self.endpoint = endpoint
        name = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
        self.host = f"{name}:{endpoint.port}".encode()
        self.salt = salt_of(self.host)
        self.outstanding = 0
        self.busy_since = self.heard_at = 0.0
        self._idle: list[Connection] = []
        self._retired = False

    def begin(self, now: float) -> None:
        """A request is sent there."""
        if not self.outstanding:
            self.busy_since = now
        self.outstanding += 1
        if self.why or self.down_until:
            self.tried(now)

    def end(self) -> None:
        """A request that was sent there is over."""
        self.outstanding -= 1

    def quiet(self, now: float) -> float:
        """For how many seconds somebody has waited there without hearing a byte, on whatever connection."""
        return now - max(self.busy_since, self.heard_at) if self.outstanding else 0.0

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
        self.peers = ()
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
