"""The same beginning of a prompt goes to the same replica, which has it in its cache, unless that one is too busy.

Rendezvous hashing: every replica has a rank for every prefix, the same in all workers, and one that comes or goes
moves only its own prefixes. Load is bounded in the manner of Mirrokni, Thorup and Zadimoghaddam (2018).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from typing import Protocol, TypeVar

LOAD_FACTOR = 1.25
SEARCHED = 16 * 1024
"""Bytes of a body in which the prompt has to begin."""

_KEYS = {b"/v1/chat/completions": b'"messages"', b"/v1/completions": b'"prompt"', b"/v1/embeddings": b'"input"'}
_MASK = (1 << 64) - 1
_MIX = 0x9E3779B97F4A7C15


class Ranked(Protocol):
    """A replica that has a place among others."""

    outstanding: int
    salt: int


_R = TypeVar("_R", bound=Ranked)


def prefix_of(path: bytes, body: bytes, size: int) -> int:
    """The hash of the first *size* bytes of the prompt in *body*; 0: it has none, or none is wanted.

    Read from the raw JSON: inside a string the quotation marks are escaped, so what is found is the key, or a string
    that reads like it, which costs nothing but a poorer choice. The first message that ends ends a shorter prefix,
    so that parameters behind a short prompt do not tell it from its like.
    """
    key = _KEYS.get(path)
    if not size or key is None:
        return 0
    start = body.find(key, 0, SEARCHED)
    if start < 0:
        return 0
    start += len(key)
    end = body.find(b"}]", start, start + size)
    prefix = body[start : end if end >= 0 else start + size]
    return zlib.crc32(prefix) or 1  # whoever makes prefixes collide gains nothing: load is bounded


def salt_of(name: bytes) -> int:
    """A number of 64 bits for a replica, the same in every worker."""
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")


def prefer(some: Sequence[_R], prefix: int) -> _R:
    """The highest-ranked of *some* for *prefix* that has no more than its share to do: 1.25 of the mean, and one."""
    bound = LOAD_FACTOR * sum(one.outstanding for one in some) / len(some) + 1.0
    best: _R | None = None
    best_rank = -1
    for one in some:
        rank = (one.salt ^ prefix) * _MIX & _MASK
        rank = (rank ^ rank >> 32) * _MIX & _MASK
        if rank > best_rank and one.outstanding <= bound:
            best, best_rank = one, rank
    return best or min(some, key=lambda one: one.outstanding)
