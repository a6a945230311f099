"""The Open Inference Protocol v2: its paths, its answers, and errors in its shape. The model's name is in the path."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from guideway import __version__
from guideway.gateway.errors import ApiError

ROOT = b"/v2"
LIVE = b"/v2/health/live"
READY = b"/v2/health/ready"
_MODELS = b"/v2/models/"
_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]*").fullmatch

Purpose = Literal["metadata", "ready", "infer"]
_PURPOSES: dict[bytes, Purpose] = {b"": "metadata", b"ready": "ready", b"infer": "infer"}


class Target(msgspec.Struct, frozen=True):
    """What a path below ``/v2/models/`` asks of which model."""

    model: str
    purpose: Purpose


def target(path: bytes) -> Target | None:
    """Read *path*, or None: it is none of the protocol."""
    if not path.startswith(_MODELS):
        return None
    name, slash, rest = path[len(_MODELS) :].partition(b"/")
    purpose = _PURPOSES.get(rest)
    if purpose is None or bool(slash) is (purpose == "metadata") or not is_name(name):
        return None
    return Target(name.decode(), purpose)


def is_name(segment: bytes) -> bool:
    """May *segment* of a path name a model? Nothing is ever decoded, so no spelling of a name leads elsewhere."""
    return _NAME(segment) is not None


def speaks(path: bytes) -> bool:
    """Does whoever asks for *path* expect answers of this protocol?"""
    return path == ROOT or path.startswith(b"/v2/")


def error_body(error: ApiError) -> bytes:
    """The JSON text that a client of this protocol gets, with our code beside it if there is one."""
    return msgspec.json.encode({"error": error.message} | ({"code": error.code} if error.code else {}))


def server_metadata() -> bytes:
    """The answer to ``GET /v2``."""
    return msgspec.json.encode({"name": "guideway", "version": __version__, "extensions": []})


def live() -> bytes:
    """The answer to ``GET /v2/health/live``: whoever can answer lives."""
    return b'{"live":true}'


def ready(serves: bool, model: str = "") -> tuple[int, bytes]:
    """Status and answer to a question about readiness: of the server, or of *model*."""
    said = {"name": model, "ready": serves} if model else {"ready": serves}
    return 200 if serves else 503, msgspec.json.encode(said)
