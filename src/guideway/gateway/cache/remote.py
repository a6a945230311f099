"""The shared store as a worker uses it: a short wait for a look, none for a write, nothing at all while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from guideway.gateway.cache.address import Address
from guideway.gateway.cache.counts import Counts
from guideway.gateway.cache.lane import Dialect, Lane, Reply
from guideway.gateway.cache.link import BACKOFF_SECONDS, Link
from guideway.gateway.cache.memcached import Memcached
from guideway.gateway.cache.redis import Redis
from guideway.gateway.cache.seal import Seal
from guideway.gateway.cache.stored import Stored

DEADLINE_SECONDS = 0.02
LATE_IN_A_ROW = 3
LOOKS = 256
WRITES = 1024
UNSENT_BYTES = 4 * 1024 * 1024
STUCK_SECONDS = 2.0

Tell = Callable[[Stored | None], None]


class Remote:
    """One shared store. Looks and writes go by two connections, so that no look waits behind a long write."""

    def __init__(
        self,
        address: Address,
        seal: Seal,
        counts: Counts,
        *,
        clock: Callable[[], float],
        uniform: Callable[[], float],
        deadline: float = DEADLINE_SECONDS,
        backoff: tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        self._dialect: Dialect = Memcached(address) if address.kind == "memcached" else Redis(address)
        self._seal, self._counts, self._clock, self._deadline = seal, counts, clock, deadline
        self._looks, self._writes = (
            Link(address, self._dialect, deadline=deadline, clock=clock, uniform=uniform, backoff=backoff)
            for _ in range(2)
        )
        self._late = 0

    @property
    def ready(self) -> bool:
        """Does it answer, and take what it is given?"""
        return self._looks.lane is not None and self._writes.lane is not None

    def start(self) -> None:
        """Connect, from a running event loop."""
        self._looks.start()
        self._writes.start()

    def close(self) -> None:
        """Leave."""
        self._looks.close()
        self._writes.close()

    def look(self, key: bytes, tell: Tell) -> Look | None:
        """Ask for *key*: *tell* hears of it within the deadline. None: it is away or busy, go on without it."""
        lane = self._looks.lane
        if lane is None or lane.lost.is_set() or lane.pending >= LOOKS:
            self._counts.skipped += 1
            return None
        look = Look(lambda reply: self._opened(key, reply), tell, self._was_late)
        look.timer = asyncio.get_running_loop().call_later(self._deadline, look.expire)
        lane.ask(self._dialect.get(self._seal.name(key)), look.replied)
        return look

    def put(self, key: bytes, stored: Stored, seconds: float) -> None:
        """Hand over an answer; it is dropped, and counted, where that would mean to wait."""
        lane = self._writable()
        value = self._seal.close(key, stored) if lane is not None and seconds >= 1 else b""
        if lane is None or not 0 < len(value) <= self._dialect.largest:
            self._counts.dropped += 1
            return
        lane.ask(self._dialect.set(self._seal.name(key), value, int(seconds)), self._written)

    def _writable(self) -> Lane | None:
        """The connection for writes, unless it is away, full or stuck. What waits in it is bounded."""
        lane = self._writes.lane
        if lane is None or lane.lost.is_set():
            return None
        if lane.pending and self._clock() - lane.heard > STUCK_SECONDS:
            self._writes.drop()
            return None
        return lane if lane.pending < WRITES and lane.unsent <= UNSENT_BYTES else None

    def _opened(self, key: bytes, reply: Reply) -> Stored | None:
        """The answer in a reply that came in time."""
        if reply.error:
            self._counts.errors += 1
            return None
        self._late = 0
        self._looks.prove()
        if reply.value is None:
            return None
        stored = self._seal.open(key, reply.value)
        if stored is None:
            self._counts.forged += 1
        return stored

    def _was_late(self) -> None:
        self._counts.late += 1
        self._late += 1
        if self._late >= LATE_IN_A_ROW:
            self._late = 0
            self._looks.drop()

    def _written(self, reply: Reply) -> None:
        if reply.error:
            self._counts.errors += 1
        else:
            self._counts.written += 1
            self._writes.prove()


class Look:
    """A question that is under way."""

    __slots__ = ("_late", "_open", "_tell", "timer")

    def __init__(self, opened: Callable[[Reply], Stored | None], tell: Tell, late: Callable[[], None]) -> None:
        self._open, self._late = opened, late
        self._tell: Tell | None = tell
        self.timer: asyncio.TimerHandle | None = None

    def replied(self, reply: Reply) -> None:
        """The store answered, or was lost."""
        if self._tell is not None:
            self._finish(self._open(reply))

    def expire(self) -> None:
        """Time is up: go on without it."""
        self._finish(None)
        self._late()

    def forget(self) -> None:
        """Nobody needs the answer any more."""
        self._tell = None
        if self.timer is not None:
            self.timer.cancel()

    def _finish(self, stored: Stored | None) -> None:
        tell = self._tell
        self.forget()
        if tell is not None:
            tell(stored)
