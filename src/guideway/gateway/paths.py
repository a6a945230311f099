"""Which paths there are on the data port, which methods they take, and who may ask: everything else is not there."""

from __future__ import annotations

from typing import Literal

from guideway.gateway import oip
from guideway.gateway.errors import ApiError

HEALTH = b"/healthz"
MODELS = b"/v1/models"
MODEL = b"/v1/models/"
FEEDBACK = b"/v1/feedback"
SIDE = (b"/v1/files", b"/v1/batches")
"""Files and batches: a process beside the workers looks after them."""
EXPLAIN = b"/v1/explain"
"""Explanations: another process beside the workers, where the environment wants it."""
COUNTED = (*SIDE, EXPLAIN)
"""Whatever is asked of a process beside the workers counts as one request."""
READ = frozenset({b"GET", b"HEAD"})
GET = frozenset({b"GET"})
WRITE = frozenset({b"POST"})
ALL = frozenset({b"GET", b"HEAD", b"POST", b"DELETE"})

PATHS = {
    HEALTH: READ,
    MODELS: READ,
    b"/v1/chat/completions": WRITE,
    b"/v1/completions": WRITE,
    b"/v1/embeddings": WRITE,
    FEEDBACK: WRITE,
    oip.ROOT: READ,
    oip.LIVE: READ,
    oip.READY: READ,
}
OPEN = frozenset({HEALTH, oip.LIVE, oip.READY})
"""Paths that need no key."""

Way = Literal["side", "feedback", "replica", "here"]
"""Who answers: a process beside the workers, who keeps feedback, a replica, or the worker by itself."""

_BELOW_SIDE = tuple(path + b"/" for path in SIDE)
_OF_OIP = {"metadata": GET, "ready": READ, "infer": WRITE}


def methods(path: bytes) -> frozenset[bytes] | None:
    """The methods that *path* takes, or None: there is no such path."""
    found = PATHS.get(path)
    if found is not None:
        return found
    if is_side(path):
        return ALL
    if path == EXPLAIN:
        return WRITE
    if model_of(path) is not None:
        return READ
    target = oip.target(path)
    return None if target is None else _OF_OIP[target.purpose]


def is_side(path: bytes) -> bool:
    """Does it concern files or batches?"""
    return path.startswith(SIDE) and (path in SIDE or path.startswith(_BELOW_SIDE))


def model_of(path: bytes) -> str | None:
    """The name in ``/v1/models/NAME``, or None: *path* is not of this form."""
    name = path[len(MODEL) :]
    return name.decode() if path.startswith(MODEL) and oip.is_name(name) else None


def way(path: bytes, method: bytes) -> Way:
    """Who answers *method* of *path*."""
    if is_side(path) or path == EXPLAIN:
        return "side"
    if method in READ:
        target = oip.target(path)
        return "replica" if target is not None and target.purpose == "metadata" else "here"
    return "feedback" if path == FEEDBACK else "replica"


def error_body(path: bytes, error: ApiError) -> bytes:
    """The JSON text of *error* in the shape that callers of *path* expect."""
    return oip.error_body(error) if oip.speaks(path) else error.body()
