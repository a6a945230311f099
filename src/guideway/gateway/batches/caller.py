"""Who asks: the worker that passed the request on has authenticated the client, and says so in headers."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request

from guideway.gateway.batches.service import UNTRUSTED, Refused, bad

OWNER, KEY, MODELS, REQUEST_ID = "x-guideway-owner", "x-guideway-key", "x-guideway-models", "x-request-id"
_NUMBER = re.compile(r"[0-9]{1,6}\Z")


class Caller(msgspec.Struct, frozen=True):
    """The key of a request. ``owner`` is its tenant; ``models`` are those that it may use, empty for all."""

    owner: str
    key: str
    models: tuple[str, ...]
    request_id: str


def caller_of(request: Request) -> Caller:
    """Who sent *request*.

    Raises:
        Refused: a header of the worker is missing or stands there twice: it was not a worker.
    """
    found = {name: request.headers.getlist(name) for name in (OWNER, KEY, MODELS, REQUEST_ID)}
    if any(len(values) != 1 for values in found.values()) or not found[OWNER][0] or not found[KEY][0]:
        raise Refused(UNTRUSTED)
    models = tuple(filter(None, (name.strip() for name in found[MODELS][0].split(","))))
    return Caller(found[OWNER][0], found[KEY][0], models, found[REQUEST_ID][0])


def limit_of(request: Request, default: int, most: int) -> int:
    """The query's ``limit``.

    Raises:
        Refused: it is not a number from 1 to *most*.
    """
    text = request.query_params.get("limit", str(default))
    if not _NUMBER.match(text) or not 1 <= int(text) <= most:
        raise bad(f"limit must be a number from 1 to {most}", "limit")
    return int(text)


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body.

    Raises:
        Refused: it has more than *limit* bytes.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise bad(f"the body is larger than {limit} bytes", code="body_too_large")
    return body
