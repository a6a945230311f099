"""What the pages of the service share, and the refusals that they know."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import NamedTuple

from guideway.core.spec.gateway import Batches
from guideway.gateway.batches.runner import Runner
from guideway.gateway.batches.shelf import Shelf
from guideway.gateway.errors import ApiError
from guideway.store.database import Database


class Service(NamedTuple):
    """The parts of one service. *wall* tells seconds since 1970."""

    database: Database
    shelf: Shelf
    options: Batches
    runner: Runner
    wall: Callable[[], float]
    new_id: Callable[[str], str]


class Refused(Exception):
    """A page refuses what it was asked."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.message)
        self.error = error


def id_maker(random_bytes: Callable[[int], bytes]) -> Callable[[str], str]:
    """Makes ids: a prefix and 32 random hexadecimal digits."""
    return lambda prefix: prefix + binascii.hexlify(random_bytes(16)).decode()


def bad(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """The request cannot be meant."""
    return Refused(ApiError(400, message, param=param, code=code))


def absent(what: str, param: str = "id") -> Refused:
    """There is no such thing, or it is another tenant's."""
    return Refused(ApiError(404, f"there is no such {what}", param=param, code="not_found"))


def conflict(message: str, code: str) -> Refused:
    """It cannot be done now."""
    return Refused(ApiError(409, message, code=code))


FULL = ApiError(507, "there is no room for this file", "server_error", code="insufficient_storage")
FAILED = ApiError(500, "the server failed", "server_error", code="internal_error")
BUSY = ApiError(
    503,
    "files and batches cannot be had now; try again",
    "server_error",
    code="unavailable",
    lines=b"Retry-After: 2\r\n",
)
UNTRUSTED = ApiError(401, "this request did not come through the gateway", code="invalid_api_key")
