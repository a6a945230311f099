"""Was this question asked before? Two generations of a Bloom filter: bounded for ever, and forgetting slowly.

A question that was asked before may have its answer in one release's cache and not in the other's, so it tells nothing
about the releases. A false alarm, at most one in fifty, leaves a request out whichever arm it goes to.
"""

from __future__ import annotations

from array import array

WORDS = 1 << 14
"""Of 64 bits each, in one generation. A question sets four bits of one word, so that one look is enough."""
KEPT = 1 << 16
"""Questions of one generation."""
_BITS = tuple(1 << number % 64 for number in range(256))


class Seen:
    """Remembers at least the last KEPT questions, in a quarter of a megabyte."""

    __slots__ = ("_count", "_new", "_old")

    def __init__(self) -> None:
        self._new, self._old = _empty(), _empty()
        self._count = 0

    def look(self, key: bytes) -> bool:
        """Was *key* seen before? It is from now on.

        *key* is the digest, of at least 8 bytes, of tenant, prompt and parameters, without that of the release.
        """
        place = (key[0] << 8 | key[1]) % WORDS
        bits = _BITS[key[2]] | _BITS[key[3]] | _BITS[key[4]] | _BITS[key[5]]
        word = self._new[place]
        if word & bits == bits:
            return True
        known = self._old[place] & bits == bits
        self._new[place] = word | bits
        self._count += 1
        if self._count >= KEPT:
            self._new, self._old, self._count = _empty(), self._new, 0
        return known


def _empty() -> array[int]:
    return array("Q", [0]) * WORDS
