"""Was this question asked before? Two generations of a Bloom filter: bounded for ever, and forgetting slowly.

A question that was asked before may have its answer in one release's cache and not in the other's, so it tells nothing
about the releases. A false alarm, at most one in two hundred, leaves a request out of both arms alike.
"""

from __future__ import annotations

BITS = 1 << 20
KEPT = 1 << 16
"""Questions of one generation: at sixteen bits each, four probes are wrong once in four hundred when it is full."""

_MASK = BITS - 1


class Seen:
    """Remembers at least the last KEPT questions, in a quarter of a megabyte."""

    __slots__ = ("_count", "_new", "_old")

    def __init__(self) -> None:
        self._new, self._old = bytearray(BITS // 8), bytearray(BITS // 8)
        self._count = 0

    def look(self, key: bytes) -> bool:
        """Was *key* seen before? It is from now on.

        *key* is the digest, of at least 16 bytes, of tenant, prompt and parameters, without that of the release.
        """
        number = int.from_bytes(key[:16], "little")
        places = [(number >> shift) & _MASK for shift in (0, 24, 48, 72)]
        if _has(self._new, places):
            return True
        known = _has(self._old, places)
        for place in places:
            self._new[place >> 3] |= 1 << (place & 7)
        self._count += 1
        if self._count >= KEPT:
            self._new, self._old, self._count = bytearray(BITS // 8), self._new, 0
        return known


def _has(bits: bytearray, places: list[int]) -> bool:
    return all(bits[place >> 3] >> (place & 7) & 1 for place in places)
