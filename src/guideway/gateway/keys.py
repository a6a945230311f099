"""Keys of clients: how they are made, what is kept of them, and how a worker finds one."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable

from guideway.core.route import ApiKey, KeyFile

PREFIX = "gw-"
KEY_BYTES = 32


def new_key(random_bytes: bytes) -> str:
    """A key from 32 random bytes: ``gw-`` and 43 characters that are safe in a URL.

    Raises:
        ValueError: there are not exactly 32 bytes.
    """
    if len(random_bytes) != KEY_BYTES:
        raise ValueError(f"a key is made from {KEY_BYTES} random bytes, not {len(random_bytes)}")
    return PREFIX + base64.urlsafe_b64encode(random_bytes).decode("ascii").rstrip("=")


def key_digest(pepper: bytes, key: str) -> str:
    """What is kept of *key*: SHA-256 of the pepper and the key, hexadecimal."""
    return hashlib.sha256(pepper + key.encode()).hexdigest()


class KeyRing:
    """The keys that count now. A look-up goes by the peppered digest.

    A caller who does not know the pepper cannot steer the digest, so the time that a look-up takes
    tells nothing about the keys that exist: constant time by construction.
    """

    def __init__(self, file: KeyFile | None = None, wall: Callable[[], float] = time.time) -> None:
        """Keep the keys of *file* that are not revoked; *wall* tells seconds since 1970.

        Raises:
            ValueError: the pepper or a digest is not hexadecimal.
        """
        file = file or KeyFile(pepper="")
        self._wall = wall
        self._seed = hashlib.sha256(bytes.fromhex(file.pepper))
        self._keys = {bytes.fromhex(key.digest): key for key in file.keys if not key.revoked}
        self._by_id = {key.id: key for key in self._keys.values()}

    def find(self, authorization: bytes) -> ApiKey | None:
        """The key in the value of an ``Authorization`` header; None also for one that has expired."""
        if authorization[:7].lower() != b"bearer ":
            return None
        digest = self._seed.copy()
        digest.update(authorization[7:].strip())
        return self._valid(self._keys.get(digest.digest()))

    def named(self, id: str) -> ApiKey | None:
        """The key with this id, for those of our own processes that act in its name."""
        return self._valid(self._by_id.get(id))

    def _valid(self, key: ApiKey | None) -> ApiKey | None:
        return None if key is None or has_expired(key, self._wall()) else key


def has_expired(key: ApiKey, now: float) -> bool:
    """Is its time over at *now*, in seconds since 1970?"""
    return key.expires is not None and now >= key.expires


def allows(key: ApiKey, model: str) -> bool:
    """May *key* call *model*? One that names no models may call all."""
    return not key.models or model in key.models
