"""Revoked keys: ``revoked.json``, which only grows. What a revoked key signed, at any time, does not count."""

from __future__ import annotations

from pathlib import Path

import msgspec

from guideway.core.errors import Corrupt
from guideway.kit.files import write_atomic

FILE = "revoked.json"


class Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One revoked key: its id, whose it was, when (seconds since 1970, UTC), and why."""

    id: str
    name: str
    at: float
    reason: str


def revoked(folder: Path) -> dict[str, Revocation]:
    """The revoked keys of *folder*, by id.

    Raises:
        Corrupt: the list cannot be read; then no key can be trusted.
    """
    return {one.id: one for one in _lines(folder / FILE)}


def add(folder: Path, one: Revocation) -> None:
    """Put *one* at the end of the list. The caller holds the lock of the folder."""
    lines = [*_lines(folder / FILE), one]
    write_atomic(folder / FILE, msgspec.json.format(msgspec.json.encode(lines)) + b"\n")


def _lines(path: Path) -> list[Revocation]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Revocation])
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Corrupt(
            "the list of revoked keys is damaged", where=str(path), try_this="restore it from a backup"
        ) from None
