"""``/v1/batches``: create, list, look at and cancel."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from guideway.gateway.batches.caller import body_of, caller_of, limit_of
from guideway.gateway.batches.file_pages import EXPIRY, listed
from guideway.gateway.batches.lines import ENDPOINTS
from guideway.gateway.batches.service import Service, absent, bad, conflict
from guideway.gateway.batches.tidy import DAY
from guideway.store import batches as rows
from guideway.store.batches import Batch, Counts, Page, Status

BODY_LIMIT = 64 * 1024
WINDOW = "24h"
TIMES: tuple[Status, ...] = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


class _Keep(msgspec.Struct):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=EXPIRY[0], le=EXPIRY[1])]


class _Asked(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]] | None = None
    output_expires_after: _Keep | None = None


_decode = msgspec.json.Decoder(_Asked).decode


async def create(request: Request) -> Response:
    """Make a batch; whether its file is any good is found out afterwards."""
    service: Service = request.app.state.service
    caller = caller_of(request)
    asked = _asked(await body_of(request, BODY_LIMIT))
    file = rows.file(service.database, caller.owner, asked.input_file_id)
    if file is None:
        raise absent("file", "input_file_id")
    if file.purpose != "batch":
        raise bad("the input must be a file with the purpose 'batch'", "input_file_id")
    now = service.wall()
    keep = asked.output_expires_after
    batch = Batch(
        id=service.new_id("batch_"),
        owner=caller.owner,
        key=caller.key,
        endpoint=asked.endpoint,
        input_file_id=file.id,
        created=now,
        expires=now + DAY,
        models=caller.models,
        metadata=asked.metadata,
        output_seconds=min(keep.seconds, int(service.options.days * DAY)) if keep else None,
    )
    rows.put_batch(service.database, batch)
    service.runner.changed()
    return JSONResponse(shown(batch, batch.counts))


async def many(request: Request) -> Response:
    """A page of the tenant's batches, the newest first."""
    service: Service = request.app.state.service
    page = Page(limit_of(request, 20, 100), request.query_params.get("after"))
    found = rows.batches(service.database, caller_of(request).owner, page)
    return JSONResponse(listed([shown(batch, service.runner.counts(batch)) for batch in found], page.limit))


async def one(request: Request) -> Response:
    """How far a batch is."""
    service: Service = request.app.state.service
    batch = _batch(request)
    return JSONResponse(shown(batch, service.runner.counts(batch)))


async def cancel(request: Request) -> Response:
    """Ask no more lines; what was answered is kept."""
    service: Service = request.app.state.service
    batch = _batch(request)
    if batch.final:
        raise conflict(f"a batch that is {batch.status} cannot be cancelled", "batch_ended")
    if batch.status != "cancelling":
        batch = batch.reached("cancelling", service.wall())
        rows.put_batch(service.database, batch)
        service.runner.changed()
    return JSONResponse(shown(batch, service.runner.counts(batch)))


def shown(batch: Batch, counts: Counts) -> dict[str, Any]:
    """The batch as the OpenAI API shows it."""
    errors = [{"code": e.code, "message": e.message, "param": e.param, "line": e.line} for e in batch.errors]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model,
        "errors": {"object": "list", "data": errors} if errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": WINDOW,
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created),
        "expires_at": int(batch.expires),
        **{f"{name}_at": int(batch.at[name]) if name in batch.at else None for name in TIMES},
        "request_counts": msgspec.to_builtins(counts),
        "metadata": batch.metadata,
    }


def _asked(body: bytes) -> _Asked:
    try:
        asked = _decode(body)
    except msgspec.ValidationError as error:
        raise bad(f"the body is not a request for a batch: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise bad("the body is not JSON") from None
    if asked.endpoint not in ENDPOINTS:
        raise bad(f"endpoint must be one of {', '.join(ENDPOINTS)}", "endpoint")
    if asked.completion_window != WINDOW:
        raise bad(f"completion_window must be '{WINDOW}'", "completion_window")
    if len(asked.metadata or {}) > 16:
        raise bad("metadata can have at most 16 keys", "metadata")
    return asked


def _batch(request: Request) -> Batch:
    service: Service = request.app.state.service
    found = rows.batch(service.database, caller_of(request).owner, request.path_params["id"])
    if found is None:
        raise absent("batch")
    return found
