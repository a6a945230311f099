"""What the cache of one worker did, in numbers that only grow."""

from __future__ import annotations

import msgspec


class Counts(msgspec.Struct):
    """``lookups`` of requests that may be answered from here; of those ``hits``, ``fetched`` and ``shared`` were.

    ``bypassed`` requests may not. Of the shared store: ``skipped`` looks (it was away or busy), ``late`` ones,
    ``written`` and ``dropped`` answers, ``errors`` that it told, ``forged`` values that were not ours.
    """

    lookups: int = 0
    hits: int = 0
    fetched: int = 0
    shared: int = 0
    bypassed: int = 0
    kept: int = 0
    skipped: int = 0
    late: int = 0
    written: int = 0
    dropped: int = 0
    errors: int = 0
    forged: int = 0

    @property
    def misses(self) -> int:
        """Lookups that the model had to answer, or still has to."""
        return self.lookups - self.hits - self.fetched - self.shared
