"""What a shared store gets to see: names that tell nothing, and values that nobody else can read or make."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from guideway.gateway.cache.stored import Stored

VERSION = b"\x01"
SECRET_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16


class Seal:
    """Names and values under one secret of the installation, of at least 32 bytes.

    A name is a keyed digest, so that who reads the store cannot try out prompts. A value is AES-256-GCM under a key
    of its own and bound to its name, so that who writes the store can neither forge an answer nor move one.
    """

    def __init__(self, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        """Derive the two keys.

        Raises:
            ValueError: the secret is too short.
        """
        if len(secret) < SECRET_BYTES:
            raise ValueError(f"the secret of the cache needs {SECRET_BYTES} bytes")
        keys = HKDF(SHA256(), 64, salt=None, info=b"guideway shared cache 1").derive(secret)
        self._names, self._values = keys[:32], keys[32:]
        self._random_bytes = random_bytes

    def name(self, key: bytes) -> bytes:
        """The name in the store: 76 letters and digits at most, whatever the key is."""
        return b"guideway:1:" + hmac.digest(self._names, key, "sha256").hex().encode()

    def close(self, key: bytes, stored: Stored) -> bytes:
        """*stored* as the store may have it: a version byte, a nonce, and what cannot be read."""
        nonce = self._random_bytes(_NONCE_BYTES)
        return VERSION + nonce + self._cipher(key).encrypt(nonce, _encode(stored), VERSION + key)

    def open(self, key: bytes, value: bytes) -> Stored | None:
        """What was closed under *key*; None for anything else."""
        if len(value) <= len(VERSION) + _NONCE_BYTES + _TAG_BYTES or not value.startswith(VERSION):
            return None
        nonce, closed = value[1 : 1 + _NONCE_BYTES], value[1 + _NONCE_BYTES :]
        try:
            return _decode(self._cipher(key).decrypt(nonce, closed, VERSION + key))
        except (InvalidTag, msgspec.DecodeError):
            return None

    def _cipher(self, key: bytes) -> AESGCM:
        """A key for each entry: random nonces under one key would run out of safety in a busy year."""
        return AESGCM(hashlib.blake2b(key, key=self._values, digest_size=32).digest())


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Stored).decode
