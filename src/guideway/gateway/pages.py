"""What a worker answers by itself: health, and which models there are for a caller."""

from __future__ import annotations

from typing import Any

import msgspec

from guideway.core.route import ApiKey
from guideway.gateway import errors, oip, paths
from guideway.gateway.routing import Table


def page(
    path: bytes, table: Table | None, key: ApiKey | None, *, leaving: bool = False, keys_unread: bool = False
) -> tuple[int, bytes]:
    """Status and JSON body of the answer to ``GET`` *path* for the caller with *key*.

    *leaving*: whoever asks after health shall send nothing more here. *keys_unread*: nobody can be served.
    """
    serves = table is not None and table.stable is not None and not leaving and not keys_unread
    if path == paths.HEALTH and keys_unread:
        return 503, b'{"status":"keys cannot be read"}'
    if path == paths.HEALTH:
        return (200, b'{"status":"ok"}') if serves else (503, b'{"status":"unavailable"}')
    if path == paths.MODELS:
        return 200, msgspec.json.encode({"object": "list", "data": [_model(table)] if may_see(table, key) else []})
    if path == oip.ROOT:
        return 200, oip.server_metadata()
    if path == oip.LIVE:
        return 200, oip.live()
    if path == oip.READY:
        return oip.ready(serves)
    return _of_model(path, table, key, serves)


def may_see(table: Table | None, key: ApiKey | None) -> bool:
    """Is there a model, and may the caller know of it?"""
    return table is not None and (key is None or not key.models or table.route.model in key.models)


def _of_model(path: bytes, table: Table | None, key: ApiKey | None, serves: bool) -> tuple[int, bytes]:
    target = oip.target(path)
    asked = target.model if target else paths.model_of(path) or ""
    known = [table.route.model] if table is not None and may_see(table, key) else []
    if asked not in known:
        unknown = errors.unknown_model(asked, known)
        return unknown.status, paths.error_body(path, unknown)
    return oip.ready(serves, asked) if target else (200, msgspec.json.encode(_model(table)))


def _model(table: Table | None) -> dict[str, Any]:
    assert table is not None
    release = table.stable.release if table.stable else None
    return {
        "id": table.route.model,
        "object": "model",
        "created": 0,
        "owned_by": "guideway",
        "release": release,
    }
