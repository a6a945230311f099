"""How many requests run at once, and who waits: a bounded queue, fair between tenants, batches last.

More requests than replicas can work on make every answer slower and none more. So what does not fit waits a little,
and what cannot wait is told so at once: the replicas stay as busy as at their peak, and no busier.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from guideway.core.load import WAITS
from guideway.core.spec.gateway import Admission as Asked
from guideway.gateway.errors import ApiError

Priority = Literal["live", "batch"]


def limit_of(asked: Asked, replicas: int, workers: int) -> int:
    """How many requests one of *workers* may have under way at *replicas* replicas: at least one."""
    return max(1, asked.concurrent * replicas // max(1, workers))


def overloaded(wait: float) -> ApiError:
    """Too many requests; *wait* is the number of seconds that one waits at most."""
    lines = b"Retry-After: %d\r\n" % max(1, math.ceil(wait))
    return ApiError(429, "the server is busy; try again", "server_error", code="overloaded", lines=lines)


class Call(Protocol):
    """A request, known by its identity. ``owner`` is the tenant that it belongs to."""

    owner: str

    def admitted(self) -> None:
        """It runs now; ``leave`` is called when it is over."""

    def refused(self, error: ApiError) -> None:
        """It waited too long, or others have more right to its place."""


class _Place(NamedTuple):
    priority: Priority
    until: float
    wait: float


class Counts(NamedTuple):
    """Of one priority: how many run, wait and have run, and how long they had waited, by the bounds of ``WAITS``.

    ``seconds`` is the sum of what they waited.
    """

    running: int
    waiting: int
    finished: int
    waits: tuple[int, ...]
    seconds: float


class _Waited:
    """Those of one priority that waited; ``admitted`` of them were let in."""

    def __init__(self) -> None:
        self.admitted = 0
        self.waits = [0] * (len(WAITS) + 1)
        self.seconds = 0.0

    def add(self, seconds: float, *, admitted: bool) -> None:
        """One waited so long."""
        self.admitted += admitted
        self.waits[bisect_left(WAITS, seconds)] += 1
        self.seconds += seconds


class Admission:
    """The gate of one worker. Every call costs the same, however many wait; *clock* is monotonic, in seconds."""

    def __init__(self, limit: int, queue: int, wait: float, clock: Callable[[], float]) -> None:
        self.running = self._finished = self._batches_running = self._batches_finished = 0
        self._waited: dict[Priority, _Waited] = {"live": _Waited(), "batch": _Waited()}
        self.crowded = False
        """Somebody was refused, and no place has become free since."""
        self._limit, self._queue, self._wait, self._clock = limit, queue, wait, clock
        self._error = overloaded(wait)
        self._places: OrderedDict[Call, _Place] = OrderedDict()
        self._lines: dict[Priority, Line] = {"live": Line(), "batch": Line()}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._places)

    def enter(self, call: Call, priority: Priority = "live") -> bool | ApiError:
        """True: run now. False: it waits, and is ``admitted`` or ``refused`` later. An error: there is no room."""
        if self.running < self._limit and not self._places:
            self.running += 1
            if priority == "batch":
                self._batches_running += 1
            return True
        if len(self._places) >= self._queue and not self._make_room(call.owner, priority):
            self.crowded = True
            return self._error
        self._places[call] = _Place(priority, self._clock() + self._wait, self._wait)
        self._lines[priority].add(call)
        return False

    def leave(self, priority: Priority = "live") -> None:
        """A request that ran is over: the next one runs."""
        self.running -= 1
        self._finished += 1
        if priority == "batch":
            self._batches_running -= 1
            self._batches_finished += 1
        self.crowded = False
        if self._places:
            self._fill()

    @property
    def refusal(self) -> ApiError:
        """What is told to whoever finds no room."""
        return self._error

    def counts(self, priority: Priority) -> Counts:
        """What became of those of *priority* so far."""
        running, finished, waited = self._batches_running, self._batches_finished, self._waited[priority]
        if priority == "live":
            running, finished = self.running - running, self._finished - finished
        at_once = running + finished - waited.admitted
        waits = (waited.waits[0] + at_once, *waited.waits[1:])
        return Counts(running, len(self._lines[priority]), finished, waits, waited.seconds)

    def waits(self, call: Call) -> bool:
        """Does *call* wait?"""
        return call in self._places

    def cancel(self, call: Call) -> None:
        """The client of *call* left while it waited. Nothing happens when it does not wait."""
        place = self._places.pop(call, None)
        if place is not None:
            self.crowded = False
            self._lines[place.priority].remove(call)

    def expire(self, now: float) -> None:
        """Refuse those who have waited too long at *now*."""
        while self._places:
            call, place = next(iter(self._places.items()))
            if place.until > now:
                return
            self.cancel(call)
            self._waited[place.priority].add(place.wait, admitted=False)
            call.refused(self._error)

    def resize(self, limit: int, wait: float | None = None) -> None:
        """So many may run from now on, and who comes may *wait* so many seconds; those that run go on."""
        self._limit, self._wait = limit, self._wait if wait is None else wait
        self.crowded = False
        self._fill()

    def _fill(self) -> None:
        while self.running < self._limit and self._places:
            call = (self._lines["live"] or self._lines["batch"]).next()
            place = self._places.pop(call)
            self.running += 1
            self._batches_running += place.priority == "batch"
            self._waited[place.priority].add(self._clock() - place.until + place.wait, admitted=True)
            call.admitted()

    def _make_room(self, owner: str, priority: Priority) -> bool:
        """The queue is full: take the place of a batch, or of a tenant that has more than its share of places."""
        if priority == "batch" or not self._queue:
            return False
        last = self._lines["batch"].last() if self._lines["batch"] else self._lines["live"].beyond_share_of(owner)
        if last is None:
            return False
        self.cancel(last)
        last.refused(self._error)
        return True


class Line:
    """Calls that wait: the tenants take turns, each one's calls stay in order."""

    def __init__(self) -> None:
        self._owners: OrderedDict[str, OrderedDict[Call, None]] = OrderedDict()
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._owners)

    def __len__(self) -> int:
        return self._size

    def add(self, call: Call) -> None:
        """Put *call* behind those of its owner."""
        self._owners.setdefault(call.owner, OrderedDict())[call] = None
        self._size += 1

    def remove(self, call: Call) -> None:
        """Take *call* out."""
        calls = self._owners[call.owner]
        del calls[call]
        self._size -= 1
        if not calls:
            del self._owners[call.owner]

    def next(self) -> Call:
        """Take out the first call of the tenant whose turn it is."""
        owner = next(iter(self._owners))
        call = next(iter(self._owners[owner]))
        self._owners.move_to_end(owner)
        self.remove(call)
        return call

    def last(self) -> Call:
        """The newest call of the tenant with the most."""
        most = max(self._owners, key=lambda owner: len(self._owners[owner]))
        return next(reversed(self._owners[most]))

    def beyond_share_of(self, owner: str) -> Call | None:
        """A call that must make room for one of *owner*, who has less than an equal share; None when it has not."""
        has = len(self._owners.get(owner, ()))
        tenants = len(self._owners) + (not has)
        return self.last() if (has + 1) * tenants <= self._size else None
