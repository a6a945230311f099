"""What makes two requests the same: all that changes the answer, within one tenant, under one digest."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol

import msgspec

SILENT = frozenset(
    {
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
    }
)
"""Parameters that change no byte of an answer. All others count, those that nobody here knows too."""


class Digest(Protocol):
    """What `hashlib` makes."""

    def copy(self) -> Digest:
        """Another one with the same state."""

    def update(self, data: bytes, /) -> None:
        """Take in *data*."""

    def digest(self) -> bytes:
        """The result."""


class Asked(msgspec.Struct, frozen=True):
    """A body that was read: its parameters, and those that change the answer in the one spelling that they have."""

    parameters: dict[str, Any]
    text: bytes


def read(body: bytes) -> Asked | None:
    """Read *body*. None: it has no one meaning, so nobody may say what is the same as it.

    The order of names and white space do not matter; ``0`` and ``0.0`` count as different, which costs a hit at most.
    """
    try:
        parameters = _decode(body)
        text = _encode(parameters)
        _refuse_doubles(body, text)
        if not SILENT.isdisjoint(parameters):
            text = _encode({name: value for name, value in parameters.items() if name not in SILENT})
    except (ValueError, RecursionError):
        return None
    return Asked(parameters, text)


def unit_key(asked: Asked, *, tenant: str, path: bytes, masking: bytes) -> bytes:
    """32 bytes: who asked what, whatever release answers. *masking* is the digest of the policy in force."""
    return sha256(_scope(tenant, path, masking) + asked.text).digest()


def raw_unit(body: bytes, *, tenant: str, path: bytes, masking: bytes) -> bytes:
    """32 bytes, as ``unit_key`` gives, for a body whose every byte counts: the same bytes mean the same."""
    digest = _raw_scope(tenant, path, masking).copy()
    digest.update(body)
    return digest.digest()


@lru_cache(maxsize=4096)
def _raw_scope(tenant: str, path: bytes, masking: bytes) -> Digest:
    return sha256(b"guideway.raw.1" + _scope(tenant, path, masking))


@lru_cache(maxsize=64)
def release_key(release: str) -> bytes:
    """32 bytes to put behind a unit: the same for one release, whose digest holds its templates and its prompts."""
    return sha256(b"guideway.cache.1" + release.encode()).digest()


@lru_cache(maxsize=4096)
def _scope(tenant: str, path: bytes, masking: bytes) -> bytes:
    """What comes before the parameters, with lengths, so that no two scopes run into each other."""
    fields = (b"guideway.unit.1", tenant.encode(), path, masking)
    return b"".join([b"%d:%b," % (len(field), field) for field in fields])


def _refuse_doubles(body: bytes, text: bytes) -> None:
    """Of a name that stands twice in an object, one reader may take the first value and another the last.

    *text* is *body* read and written again, so it has lost what stood twice, and with it two quotation marks at
    least; only marks that were spelled as escapes could make up for them.

    Raises:
        ValueError: a name stands there twice.
    """
    if body.count(b'"') != text.count(b'"') or b"\\u0022" in body:
        json.loads(body, object_pairs_hook=_only_once)


def _only_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode
