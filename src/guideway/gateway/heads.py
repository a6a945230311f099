"""Heads that were read, checked and accepted before: the same bytes mean the same, so they are not read again.

A client that keeps its connection sends nearly the same head with every request, and a model server with every
answer. Looking one up costs a tenth of parsing it.
"""

from __future__ import annotations

import hashlib

from guideway.gateway.request import Request

_KEPT = 2048
_LONGEST = 4096


class KnownHeads:
    """Accepted request heads by a digest of their bytes: no key of a client lies here.

    *secret* keeps the digests from being guessed. Forgotten as a whole when the keys change or it is full. Heads with
    a key that expires are looked at every time.
    """

    __slots__ = ("_requests", "_seed")

    def __init__(self, secret: bytes) -> None:
        self._seed = hashlib.sha256(secret)
        self._requests: dict[bytes, Request] = {}

    def find(self, head: bytes) -> Request | None:
        """A fresh request with the head *head*, its body still empty; None: it has to be read."""
        digest = self._seed.copy()
        digest.update(head)
        known = self._requests.get(digest.digest())
        return known.again() if known is not None else None

    def keep(self, head: bytes, request: Request) -> None:
        """*request* was made of *head* and accepted."""
        if len(head) > _LONGEST or (request.key is not None and request.key.expires is not None):
            return  # nobody would look again whether such a key has expired meanwhile
        if len(self._requests) >= _KEPT:
            self._requests.clear()
        digest = self._seed.copy()
        digest.update(head)
        self._requests[digest.digest()] = request.again()

    def forget(self) -> None:
        """What was accepted may no longer be."""
        self._requests.clear()
