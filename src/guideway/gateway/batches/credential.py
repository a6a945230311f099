"""How the service shows a worker for which key it asks: it knows no key, but it knows the pepper."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "x-guideway-batch"
_LABEL = b"guideway: requests of batches, 1"


def secret_of(pepper: bytes) -> bytes:
    """The secret that service and workers share: 32 bytes, from the pepper of the keys file.

    Raises:
        ValueError: there is no pepper: then everybody could make the secret.
    """
    if not pepper:
        raise ValueError("the keys file has no pepper")
    return hmac.digest(pepper, _LABEL, "sha256")


def sign(secret: bytes, key_id: str) -> str:
    """The value of the header ``x-guideway-batch`` for requests of the key *key_id*."""
    return f"{key_id}.{_mac(secret, key_id)}"


def check(secret: bytes, value: str) -> str | None:
    """The id of the key in *value*, or None when it was not made with *secret*. Takes constant time."""
    key_id, _, mac = value.rpartition(".")
    good = hmac.compare_digest(_mac(secret, key_id).encode(), mac.encode("utf-8", "surrogateescape"))
    return key_id if good and key_id else None


def _mac(secret: bytes, key_id: str) -> str:
    return hmac.new(secret, key_id.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
