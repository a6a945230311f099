"""Single flight: of identical requests under way one asks the model, the others wait for its answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from guideway.gateway.cache.stored import Stored
from guideway.gateway.log import log

WAITERS = 256


class Waiter(Protocol):
    """A request that waits for the answer to another. It hears exactly one of the two, unless it leaves before."""

    def landed(self, stored: Stored) -> None:
        """The answer."""

    def lead(self) -> None:
        """There will be none: ask the model yourself. Your seat says whether others wait for you now."""


class Flights:
    """The flights of one worker, by key. A key names its tenant, so no flight has two."""

    def __init__(self, waiters: int = WAITERS) -> None:
        self._most = waiters
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: bytes, waiter: Waiter) -> Seat | None:
        """A seat: the first leads, others wait. None: so many wait already that *waiter* had better go alone."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = Flight(self, key)
            flight.leader = seat = Seat(flight, waiter)
            return seat
        if len(flight.waiting) >= self._most:
            return None
        seat = Seat(flight, waiter)
        flight.waiting[seat] = None
        return seat

    def over(self, key: bytes) -> None:
        """The flight under *key* has landed, or nobody waits any more."""
        del self._flights[key]


class Seat:
    """One request's place in a flight."""

    __slots__ = ("_flight", "waiter")

    def __init__(self, flight: Flight, waiter: Waiter) -> None:
        self._flight: Flight | None = flight
        self.waiter = waiter

    @property
    def leads(self) -> bool:
        """Is it this request that asks the model?"""
        return self._flight is None or self._flight.leader is self

    @property
    def awaited(self) -> bool:
        """Do others wait for its answer? Then it goes on reading, however slowly its own client reads."""
        return self._flight is not None and self._flight.leader is self and bool(self._flight.waiting)

    def land(self, stored: Stored) -> int:
        """The leader has the answer: all who wait get it. Returns how many they are."""
        flight, self._flight = self._flight, None
        if flight is None or flight.leader is not self:
            return 0
        if flight.waiting:
            return flight.land(stored)
        flight.over()
        return 0

    def fail(self) -> None:
        """The leader got nothing that others may have: some of them try by themselves."""
        flight = self._stand_up()
        if flight is not None:
            flight.fail()

    def leave(self) -> None:
        """The client is gone; if it was the leader's, the next in line leads."""
        flight, leads = self._flight, self.leads
        self._flight = None
        if flight is None:
            return
        if leads:
            flight.succeed()
        else:
            flight.waiting.pop(self, None)

    def go_alone(self) -> None:
        """From now on this request has nothing to do with others."""
        self._flight = None

    def _stand_up(self) -> Flight | None:
        """The flight that this seat leads, which it does no more."""
        flight, self._flight = self._flight, None
        return flight if flight is not None and flight.leader is self else None


class Flight:
    """One leader, and those who wait, in order. It takes itself off *flights* when it ends."""

    __slots__ = ("_failures", "_flights", "_key", "leader", "waiting")

    def __init__(self, flights: Flights, key: bytes) -> None:
        self.leader: Seat | None = None
        self.waiting: dict[Seat, None] = {}
        self._flights, self._key = flights, key
        self._failures = 0

    def land(self, stored: Stored) -> int:
        """Tell all. The flight is over before, for one who hears of it may ask the same again."""
        waiting = self._end()
        for seat in waiting:
            seat.go_alone()
        for seat in waiting:
            _tell(partial(seat.waiter.landed, stored))
        return len(waiting)

    def fail(self) -> None:
        """After each failure twice as many try at once: no herd at first, and nobody waits for a whole queue."""
        alone = [self._next() for _ in range(min(2**self._failures - 1, len(self.waiting)))]
        self._failures += 1
        for seat in alone:
            seat.go_alone()
        self.succeed()
        for seat in alone:
            _tell(seat.waiter.lead)

    def succeed(self) -> None:
        """The next in line leads; without one the flight is over."""
        if not self.waiting:
            self._end()
            return
        leader = self.leader = self._next()
        if not _tell(leader.waiter.lead):
            leader.fail()

    def _next(self) -> Seat:
        seat = next(iter(self.waiting))
        del self.waiting[seat]
        return seat

    def over(self) -> None:
        """Nobody waits, and who asks now begins another one."""
        self.leader = None
        self._flights.over(self._key)

    def _end(self) -> list[Seat]:
        waiting, self.waiting = list(self.waiting), {}
        self.over()
        return waiting


def _tell(call: Callable[[], None]) -> bool:
    """Did it get through? One who fails to hear must not keep the others from it."""
    try:
        call()
    except Exception as error:
        log("a shared answer did not get through", error=type(error).__name__)
        return False
    return True
