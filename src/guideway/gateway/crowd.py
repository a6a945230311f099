"""The clients of one worker: how many connections there may be, and which one goes when another one comes.

Whoever has no key can hold places only until somebody else wants them.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

AT_ONCE = 64
LOOK_SECONDS = 0.1


class Member(Protocol):
    """A connection of a client."""

    def idle_since(self) -> float | None:
        """Since when it has waited for its next request; None: one is under way."""

    def abort(self) -> None:
        """Cut it."""


One = TypeVar("One", bound=Member)


class Crowd(Generic[One]):
    """At most *most* connections. *clock* is monotonic, in seconds.

    ``closed`` counts those that had to make room, ``refused`` those for which there was none.
    """

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self.most, self._clock = most, clock
        self.members: set[One] = set()
        self.closed = self.refused = 0
        self._strangers: OrderedDict[One, None] = OrderedDict()
        self._idle: list[tuple[float, One]] = []
        self._look_at = 0.0

    def join(self, member: One) -> bool:
        """*member* came. False: there is no room, so it is to be told and to leave; the next one takes its place."""
        if member in self.members:
            return True
        self.members.add(member)
        self._strangers[member] = None
        if len(self.members) <= self.most:
            return True
        oldest = next(iter(self._strangers))
        leaves = oldest if oldest is not member else self._idlest()
        if leaves is None:
            self.refused += 1
            return False
        self.closed += 1
        self.leave(leaves)
        leaves.abort()
        return True

    def know(self, member: One) -> None:
        """*member* has shown a key that counts."""
        self._strangers.pop(member, None)

    def leave(self, member: One) -> None:
        """*member* is gone."""
        self.members.discard(member)
        self._strangers.pop(member, None)

    def _idlest(self) -> One | None:
        """The one with a key that has waited longest for its next request. All are looked at once for many."""
        if not self._idle and self._look_at <= (now := self._clock()):
            waiting = [(since, one) for one in self.members if (since := self._since(one)) is not None]
            self._idle = heapq.nsmallest(AT_ONCE, waiting, key=lambda pair: pair[0])[::-1]
            self._look_at = now + LOOK_SECONDS
        while self._idle:
            since, one = self._idle.pop()
            if one in self.members and self._since(one) == since:
                return one
        return None

    def _since(self, one: One) -> float | None:
        return None if one in self._strangers else one.idle_since()
