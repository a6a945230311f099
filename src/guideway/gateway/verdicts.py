"""What the one worker that probes tells the others of its host: which replicas talk garbage, and until when.

A file that the workers follow like route and keys. An ejection in it ends by itself, so a prober that dies leaves
nothing behind that lasts.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from guideway.gateway.backend import Backend


class Verdicts(msgspec.Struct, frozen=True):
    """Replicas (``host:port``) that are to be left alone, each until a time in seconds since 1970."""

    until: dict[str, float] = {}


def tell(backends: Iterable[Backend], *, now: float, wall: float) -> bytes:
    """The content of the file; *now* is the worker's clock and *wall* the time since 1970, at one moment."""
    ejected = {
        one.host.decode(): round(wall + one.ejected_until - now, 3)
        for one in backends
        if one.why == "probe" and one.ejected_until > now
    }
    return msgspec.json.encode(Verdicts(ejected))


def hear(data: bytes, backends: Iterable[Backend], *, now: float, wall: float) -> None:
    """Do as the file says.

    Raises:
        ValueError: it is none.
    """
    until = msgspec.json.decode(data, type=Verdicts).until
    for one in backends:
        left = until.get(one.host.decode(), 0.0) - wall
        if left > 0.0:
            one.eject(now, "probe", left)
        elif one.why == "probe":
            one.restore()
