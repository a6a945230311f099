"""``/v1/files``: upload, list, look at, read and delete."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from guideway.gateway.batches.caller import caller_of, limit_of
from guideway.gateway.batches.service import FULL, Refused, Service, absent, bad, conflict
from guideway.gateway.batches.shelf import is_full
from guideway.gateway.batches.tidy import DAY
from guideway.gateway.batches.upload import Form, receive
from guideway.store import batches as rows
from guideway.store.batches import Page, StoredFile

MEGABYTE = 1024 * 1024
READ_BYTES = 64 * 1024
EXPIRY = (3600, 2_592_000)
_SECONDS = re.compile(r"[0-9]{1,9}\Z")


async def upload(request: Request) -> Response:
    """Take a file for batches."""
    service: Service = request.app.state.service
    caller = caller_of(request)
    try:
        with service.shelf.part() as part:
            form = await receive(request, part, service.options.megabytes * MEGABYTE)
            seconds = _checked(form, service)
            id, now = service.new_id("file-"), service.wall()
            size = await anyio.to_thread.run_sync(service.shelf.keep, part, id)
            file = StoredFile(id, caller.owner, "batch", form.filename, size, now, now + seconds)
            _remember(service, file)
    except OSError as error:
        if not is_full(error):
            raise
        raise Refused(FULL) from None
    except ClientDisconnect:
        return Response(status_code=400)
    return JSONResponse(shown(file))


async def many(request: Request) -> Response:
    """A page of the tenant's files."""
    service: Service = request.app.state.service
    caller, query = caller_of(request), request.query_params
    page = Page(limit_of(request, 10_000, 10_000), query.get("after"), ascending=_ascending(query.get("order")))
    found = rows.files(service.database, caller.owner, page, query.get("purpose"))
    return JSONResponse(listed([shown(file) for file in found], page.limit))


async def one(request: Request) -> Response:
    """What is known of a file."""
    return JSONResponse(shown(_file(request)))


async def content(request: Request) -> Response:
    """The bytes of a file, exactly."""
    service: Service = request.app.state.service
    file = _file(request)
    try:
        opened = await anyio.open_file(service.shelf.file(file.id), "rb")
    except FileNotFoundError:
        raise absent("file") from None

    async def pieces() -> AsyncIterator[bytes]:
        async with opened:
            while piece := await opened.read(READ_BYTES):
                yield piece

    headers = {
        "content-length": str(file.bytes),
        "content-disposition": f'attachment; filename="{file.id}.jsonl"',
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(pieces(), media_type="application/octet-stream", headers=headers)


async def delete(request: Request) -> Response:
    """Delete a file, but not one that a batch still reads."""
    service: Service = request.app.state.service
    file = _file(request)
    if rows.in_use(service.database, file.id):
        raise conflict("a batch that is under way reads this file: wait for it, or cancel it", "file_in_use")
    rows.drop_file(service.database, file.id)
    service.shelf.drop(file.id)
    return JSONResponse({"id": file.id, "object": "file", "deleted": True})


def shown(file: StoredFile) -> dict[str, Any]:
    """The file as the OpenAI API shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created),
        "expires_at": int(file.expires),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def listed(found: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    """A page of a list; *found* has one more than the page when there are more."""
    data = found[:limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": len(found) > limit,
    }


def _file(request: Request) -> StoredFile:
    service: Service = request.app.state.service
    found = rows.file(service.database, caller_of(request).owner, request.path_params["id"])
    if found is None:
        raise absent("file")
    return found


def _remember(service: Service, file: StoredFile) -> None:
    """Write the row; without it the bytes must not stay."""
    try:
        rows.put_file(service.database, file)
    except BaseException:
        with suppress(OSError):
            service.shelf.drop(file.id)
        raise


def _checked(form: Form, service: Service) -> float:
    """How long the file is kept, in seconds."""
    purpose = form.fields.get("purpose", "")
    if purpose != "batch":
        raise bad(f"purpose must be 'batch', not {purpose[:40]!r}: other files are not taken here", "purpose")
    longest = service.options.days * DAY
    anchor, seconds = form.fields.get("expires_after[anchor]"), form.fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return longest
    least, most = EXPIRY
    if anchor != "created_at" or not _SECONDS.match(seconds or "") or not least <= int(seconds or "") <= most:
        raise bad(f"expires_after takes the anchor 'created_at' and {least} to {most} seconds", "expires_after")
    return min(longest, float(seconds or ""))


def _ascending(order: str | None) -> bool:
    if order not in {None, "asc", "desc"}:
        raise bad("order must be 'asc' or 'desc'", "order")
    return order == "asc"
