"""The cache as a worker uses it: its memory first, then who is under way, then the shared store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from guideway.core.spec.gateway import Cache as Options
from guideway.gateway.cache.counts import Counts
from guideway.gateway.cache.flights import Flights, Seat, Waiter
from guideway.gateway.cache.memory import Memory
from guideway.gateway.cache.plan import Call, Plan, plan
from guideway.gateway.cache.stored import Stored, is_ordinary, is_whole

if TYPE_CHECKING:
    from guideway.gateway.cache.remote import Look, Remote, Tell

MEGABYTE = 1024 * 1024


class Cache:
    """The cache of one worker; nothing here waits, and nothing fails a request.

    *clock* is monotonic and *wall* counts from 1970, both in seconds; *secret* is what all gateways that share a
    store know and the store does not, at least 32 bytes, unused without a shared store.
    """

    def __init__(
        self,
        options: Options,
        *,
        secret: bytes,
        clock: Callable[[], float],
        wall: Callable[[], float],
        uniform: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """Set up what *options* ask for.

        Raises:
            SpecError: the store is none that we know.
            ValueError: the secret is too short for a shared store.
        """
        self.counts = Counts()
        self._on = options.store != "off"
        self._seconds, self._wall = float(options.seconds), wall
        self._memory = Memory(options.megabytes * MEGABYTE, clock)
        self._flights = Flights()
        self._remote: Remote | None = None
        if options.store not in {"off", "memory"}:
            # A worker without a shared store need not hold the libraries for one.
            from guideway.gateway.cache.address import read_address
            from guideway.gateway.cache.remote import Remote
            from guideway.gateway.cache.seal import Seal

            address, seal = read_address(options.store), Seal(secret, random_bytes)
            self._remote = Remote(address, seal, self.counts, clock=clock, uniform=uniform)

    def start(self) -> None:
        """Connect to the shared store, if there is one; from a running event loop."""
        if self._remote is not None:
            self._remote.start()

    def close(self) -> None:
        """Leave the shared store."""
        if self._remote is not None:
            self._remote.close()

    def tick(self) -> None:
        """Once a second: forget what is too old."""
        self._memory.sweep()

    def plan(self, call: Call) -> Plan | None:
        """What may be done for *call*; None: nothing, nor does it count as seen before."""
        found = plan(call)
        if found is not None and not self._on:
            found = Plan(found.key, found.unit, reads=False, keeps=False)
        if found is None or not found.reads:
            self.counts.bypassed += 1
        return found

    def get(self, plan: Plan) -> Stored | None:
        """The answer in memory, or None."""
        if not plan.reads:
            return None
        self.counts.lookups += 1
        stored = self._memory.get(plan.key)
        if stored is None or self._wall() - stored.created > plan.oldest:
            return None
        self.counts.hits += 1
        return stored

    def join(self, plan: Plan, waiter: Waiter) -> Seat | None:
        """A seat among those who ask the same now; None: ask the model alone."""
        return self._flights.join(plan.key, waiter) if plan.reads else None

    @property
    def is_shared(self) -> bool:
        """Is there a store that others use too?"""
        return self._remote is not None

    def fetch(self, plan: Plan, seat: Seat | None, tell: Tell) -> Look | None:
        """Look into the shared store; *tell* hears within the deadline, after those who wait. None: go on now."""
        if self._remote is None or not plan.reads:
            return None
        return self._remote.look(plan.key, lambda stored: self._fetched(plan, seat, stored, tell))

    def answered(
        self,
        plan: Plan,
        seat: Seat | None,
        *,
        status: int,
        content_type: bytes,
        body: bytes,
        usage: tuple[int, int] | None,
        outlier: float | None = None,
    ) -> bool:
        """The model's answer, complete: keep it, and give it to those who wait. False: it may not be kept."""
        sound = usage is not None and is_ordinary(status, content_type, body)
        if not plan.keeps or not (sound or is_whole(status, content_type, body)):
            if seat is not None:
                seat.fail()
            return False
        stored = Stored(status, content_type, body, usage, self._wall(), outlier)
        self._memory.put(plan.key, stored, self._seconds)
        self.counts.kept += 1
        if self._remote is not None:
            self._remote.put(plan.key, stored, self._seconds)
        if seat is not None:
            self.counts.shared += seat.land(stored)
        return True

    def _fetched(self, plan: Plan, seat: Seat | None, stored: Stored | None, tell: Tell) -> None:
        age = self._wall() - stored.created if stored is not None else 0.0
        left = min(self._seconds - age, self._seconds)
        if stored is None or left <= 0 or age > plan.oldest:
            tell(None)
            return
        self.counts.fetched += 1
        self._memory.put(plan.key, stored, left)
        if seat is not None:
            self.counts.shared += seat.land(stored)
        tell(stored)
