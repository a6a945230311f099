"""What all connections of one worker share: the route, the keys, the pools, the clock and the dice."""

from __future__ import annotations

import asyncio
import binascii
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from guideway.core.route import Endpoint, KeyFile, Route
from guideway.gateway import errors, pages, wire
from guideway.gateway.backend import Backend
from guideway.gateway.errors import ApiError
from guideway.gateway.keys import KeyRing
from guideway.gateway.log import log
from guideway.gateway.request import Request, peek_at, refuse
from guideway.gateway.routing import ServingArm, Table, choose, compile_route, read_route, replaces
from guideway.gateway.upstream import UpstreamConnection, connect

_ID_BYTES = 16
_IDS_AT_ONCE = 256


class Waiter(Protocol):
    """Who waits for a connection to a replica."""

    def connected(self, connection: UpstreamConnection) -> bool:
        """Here it is; False when it is not needed any more."""

    def unreachable(self, backend: Backend) -> None:
        """It cannot be had."""


class Plane:
    """The state of one worker. *clock* is monotonic, in seconds; *uniform* draws from [0, 1)."""

    def __init__(
        self,
        body_limit: int,
        *,
        clock: Callable[[], float],
        uniform: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.body_limit = body_limit
        self.clock = clock
        self.table: Table | None = None
        self.draining = False
        self.retiring = False
        """It is to leave soon: health says so, so that a load balancer sends no more, and requests are still served."""
        self.date = b""
        self._keys = KeyRing()
        self._uniform, self._random_bytes = uniform, random_bytes
        self._ids: list[bytes] = []
        self._turn = 0
        self._backends: dict[Endpoint, Backend] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    # What the files say.

    def set_keys(self, data: bytes) -> None:
        """Take the content of a keys file.

        Raises:
            ValueError: it is not one.
        """
        self._keys = KeyRing(msgspec.json.decode(data, type=KeyFile))

    def set_route(self, data: bytes) -> None:
        """Take the content of a route file; an older route than the present one is left alone.

        Raises:
            ValueError: it is not one.
        """
        route, old = read_route(data), self.table.route if self.table else None
        if not replaces(route, old):
            log("older route left alone", epoch=route.epoch, revision=route.revision)
            return
        self._apply(route)

    def _apply(self, route: Route) -> None:
        before = self._backends
        self._backends = {}
        self.table = compile_route(route, lambda endpoint: self._backend(endpoint, before))
        for endpoint, backend in before.items():
            if endpoint not in self._backends:
                backend.retire()

    def _backend(self, endpoint: Endpoint, before: dict[Endpoint, Backend]) -> Backend:
        found = self._backends.get(endpoint) or before.get(endpoint) or Backend(endpoint)
        self._backends[endpoint] = found
        return found

    # What a request needs.

    def check(self, request: Request) -> ApiError | None:
        """Why the head of *request* is refused, or None."""
        return refuse(request, self._keys, self.body_limit)

    def admit(self, request: Request) -> ApiError | None:
        """Why the body of *request* is refused, or None."""
        found = peek_at(request)
        if isinstance(found, ApiError):
            return found
        if self.table is None:
            return errors.NO_REPLICA
        known = self.table.route.model
        return None if found.model == known else errors.unknown_model(found.model, [known])

    def page(self, request: Request) -> tuple[int, bytes]:
        """Status and JSON body of what the worker answers by itself."""
        return pages.page(request.path, self.table, request.key, leaving=self.retiring or self.draining)

    def new_id(self) -> bytes:
        """A random request id: 32 hexadecimal digits."""
        if not self._ids:
            many = binascii.hexlify(self._random_bytes(_ID_BYTES * _IDS_AT_ONCE))
            size = 2 * _ID_BYTES
            self._ids = [many[start : start + size] for start in range(0, len(many), size)]
        return self._ids.pop()

    def draw(self) -> ServingArm | None:
        """The arm for one request."""
        return self.table.draw(self._uniform()) if self.table else None

    def choose(self, arm: ServingArm, avoid: Backend | None) -> Backend:
        """The backend of *arm* for one attempt."""
        self._turn += 1
        return choose(arm.backends, avoid=avoid, now=self.clock(), turn=self._turn)

    def pooled(self, backend: Backend) -> UpstreamConnection | None:
        """A connection that waits for work, or None."""
        return cast("UpstreamConnection | None", backend.take(self.clock()))

    def connect(self, backend: Backend, waiter: Waiter) -> None:
        """Make a connection; *waiter* hears of it. This is the only task that a request may cost."""
        task = asyncio.get_running_loop().create_task(self._connect(backend, waiter))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, backend: Backend, waiter: Waiter) -> None:
        try:
            connection = await connect(backend, self.clock)
        except (OSError, ValueError):
            backend.failed(self.clock())
            waiter.unreachable(backend)
            return
        backend.connected()
        if not waiter.connected(connection):
            backend.give(connection, self.clock())

    def tick(self, wall: float) -> None:
        """Once a second: refresh the date (*wall*: seconds since 1970), drop connections that idle."""
        self.date = wire.date_line(wall)
        now = self.clock()
        for backend in self._backends.values():
            backend.sweep(now)
