"""The guards of one rollout: each asked again and again beside the controller, the latest numbers at hand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from guideway.core.spec.guards import Guard
from guideway.watch.prometheus import Measured, Subject, measure, unknown

AT_ONCE = 4
STALE = 3.0
"""A number that is older than so many times its interval is not known any more."""
SHORTEST_NAP, LONGEST_NAP = 0.1, 1.0


class Measure(Protocol):
    """Asks for one number."""

    def __call__(self, guard: Guard, subject: Subject, *, given_up: Callable[[], bool]) -> Measured:
        """The number now. May take seconds; ends soon after *given_up* says so."""


class Guards:
    """Asks *guards* about *subject*, each at its interval and never twice at once. ``close`` ends it.

    *clock* counts seconds and is set by nobody. ``values`` may be read from any thread.
    """

    def __init__(
        self,
        guards: Sequence[Guard],
        subject: Subject,
        *,
        clock: Callable[[], float] = time.monotonic,
        ask: Measure = measure,
    ) -> None:
        self._guards, self._subject, self._clock, self._ask = tuple(guards), subject, clock, ask
        self._latest: dict[str, tuple[float, Measured]] = {}
        self._due = dict.fromkeys((guard.name for guard in guards), clock())
        self._under_way: dict[str, Future[None]] = {}
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="guard")
        self._thread = threading.Thread(target=self._run, name="guards", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def values(self) -> tuple[Measured, ...]:
        """The latest number of each guard, in the order in which they were given."""
        now = self._clock()
        return tuple(self._value(guard, now) for guard in self._guards)

    def close(self) -> None:
        """Ask no more; what is under way is given up. Returns when all threads have ended."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def look(self) -> float:
        """Ask what is due; the seconds until there is more to do. For the one thread that drives this."""
        now = self._clock()
        for guard in self._guards:
            running = self._under_way.get(guard.name)
            if self._due[guard.name] <= now and (running is None or running.done()):
                self._due[guard.name] = now + guard.every
                self._under_way[guard.name] = self._pool.submit(self._measure, guard)
        return max(SHORTEST_NAP, min(LONGEST_NAP, min(self._due.values(), default=now + LONGEST_NAP) - now))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.look())

    def _measure(self, guard: Guard) -> None:
        asked = self._clock()
        try:
            found = self._ask(guard, self._subject, given_up=self._stopping.is_set)
        except Exception as error:  # a guard that fails in a way nobody foresaw must not look like a quiet one
            found = unknown(guard, f"asking failed: {type(error).__name__}")
        self._latest[guard.name] = asked, found

    def _value(self, guard: Guard, now: float) -> Measured:
        asked, found = self._latest.get(guard.name, (now, unknown(guard, "it was not asked yet")))
        if found.value is not None and now - asked > STALE * guard.every:
            return unknown(guard, f"the last number is {now - asked:.0f} s old")
        return found
