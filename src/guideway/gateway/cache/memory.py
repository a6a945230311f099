"""The embedded store of one worker: the answers used last, bounded in bytes, for a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from guideway.gateway.cache.stored import Stored

ENTRY_BYTES = 768
"""What Python needs for one entry beside the body; a test holds it against the truth."""


class Memory:
    """At most *capacity* bytes; *clock* is monotonic, in seconds."""

    def __init__(self, capacity: int, clock: Callable[[], float]) -> None:
        self.size = 0
        self._capacity, self._clock = capacity, clock
        self._entries: OrderedDict[bytes, tuple[Stored, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Stored | None:
        """The answer under *key*, unless its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= self._clock():
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, stored: Stored, seconds: float) -> None:
        """Keep *stored* for *seconds*; what was not used for longest makes room."""
        self.drop(key)
        cost = _cost(stored)
        if cost > self._capacity or seconds <= 0:
            return
        self._entries[key] = stored, self._clock() + seconds
        self.size += cost
        while self.size > self._capacity:
            self.drop(next(iter(self._entries)))

    def drop(self, key: bytes) -> None:
        """Forget *key*."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= _cost(entry[0])

    def sweep(self, most: int = 64) -> None:
        """Forget some of those whose time is over, looking at the *most* that were not used for longest."""
        now = self._clock()
        for key in [key for key, _ in zip(self._entries, range(most), strict=False)]:
            if self._entries[key][1] <= now:
                self.drop(key)


def _cost(stored: Stored) -> int:
    return ENTRY_BYTES + len(stored.body) + len(stored.content_type)
