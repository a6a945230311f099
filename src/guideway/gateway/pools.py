"""The replicas of a worker: which there are, which one a request goes to, and the connections to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from guideway.core.route import Endpoint, Route
from guideway.gateway.backend import Backend
from guideway.gateway.health import all_down
from guideway.gateway.mishap import tell
from guideway.gateway.routing import ServingArm, Table, choose, compile_route
from guideway.gateway.upstream import KnownAnswers, UpstreamConnection, connect


class Waiter(Protocol):
    """Who waits for a connection to a replica."""

    def connected(self, connection: UpstreamConnection) -> bool:
        """Here it is; False when it is not needed any more."""

    def unreachable(self, backend: Backend) -> None:
        """It cannot be had."""


class Pools:
    """One object for each endpoint of the route. *clock* is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._turn = 0
        self._known = KnownAnswers()
        self._backends: dict[Endpoint, Backend] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    def apply(self, route: Route) -> Table:
        """The table of *route*; an endpoint that stays keeps its object, one that left is retired."""
        before, self._backends = self._backends, {}
        table = compile_route(route, lambda endpoint: self._backend(endpoint, before))
        for endpoint, backend in before.items():
            if endpoint not in self._backends:
                backend.retire()
        return table

    def _backend(self, endpoint: Endpoint, before: dict[Endpoint, Backend]) -> Backend:
        found = self._backends.get(endpoint) or before.get(endpoint) or Backend(endpoint)
        self._backends[endpoint] = found
        return found

    def choose(self, arm: ServingArm, avoid: Backend | None, prefix: int, now: float) -> Backend | None:
        """The backend of *arm* for one attempt; None: there was no connection to any of them a moment ago."""
        backends = arm.backends
        if len(backends) == 1:
            only = backends[0]
            return None if only.down_until > now else only
        if all_down(backends, now):
            return None
        self._turn += 1
        return choose(backends, avoid=avoid, now=now, turn=self._turn, prefix=prefix)

    def pooled(self, backend: Backend, now: float) -> UpstreamConnection | None:
        """A connection that waits for work, or None."""
        return cast("UpstreamConnection | None", backend.take(now))

    def connect(self, backend: Backend, waiter: Waiter) -> None:
        """Make a connection; *waiter* hears of it. This is the only task that a request may cost."""
        task = asyncio.get_running_loop().create_task(self._connect(backend, waiter))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, backend: Backend, waiter: Waiter) -> None:
        began = self._clock()
        try:
            connection = await connect(backend, self._clock, self._known)
        except Exception as error:  # whatever it is, somebody waits
            if not isinstance(error, OSError | ValueError):
                tell(error)
            if backend.heard_at < began:  # else it answers others: it, or we, are merely busy
                backend.failed(self._clock())
            waiter.unreachable(backend)
            return
        backend.connected()
        if not waiter.connected(connection):
            backend.give(connection, self._clock())

    def sweep(self) -> None:
        """Close the connections that nobody needed for a while."""
        now = self._clock()
        for backend in self._backends.values():
            backend.sweep(now)
