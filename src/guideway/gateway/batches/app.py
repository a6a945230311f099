"""The service as a Starlette app: its paths, and errors in the shape of the OpenAI API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from guideway.core.errors import GuidewayError
from guideway.gateway import errors
from guideway.gateway.batches import batch_pages, file_pages
from guideway.gateway.batches.caller import REQUEST_ID
from guideway.gateway.batches.service import BUSY, FAILED, Refused, Service
from guideway.gateway.errors import ApiError
from guideway.gateway.log import log

Page = Callable[[Request], Awaitable[Response]]


def build(service: Service) -> Starlette:
    """The app that serves *service*."""
    routes = [
        _route("/v1/files", POST=file_pages.upload, GET=file_pages.many),
        _route("/v1/files/{id}", GET=file_pages.one, DELETE=file_pages.delete),
        _route("/v1/files/{id}/content", GET=file_pages.content),
        _route("/v1/batches", POST=batch_pages.create, GET=batch_pages.many),
        _route("/v1/batches/{id}", GET=batch_pages.one),
        _route("/v1/batches/{id}/cancel", POST=batch_pages.cancel),
    ]
    handlers = {Refused: _refused, HTTPException: _unknown, GuidewayError: _unavailable, Exception: _failed}
    app = Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _route(path: str, **pages: Page) -> Route:
    """One path and a page for each of its methods."""

    async def page(request: Request) -> Response:
        return await pages["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, page, methods=list(pages))


async def _refused(request: Request, refused: Refused) -> Response:
    return answer(refused.error, request)


async def _unknown(request: Request, error: HTTPException) -> Response:
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        return answer(errors.wrong_method([name.strip().encode() for name in allowed.split(",")]), request)
    return answer(errors.NO_PATH, request)


async def _unavailable(request: Request, error: GuidewayError) -> Response:
    log("rows of batches cannot be had", why=type(error).__name__)
    return answer(BUSY, request)


async def _failed(request: Request, error: Exception) -> Response:
    log("page failed", method=request.method, why=type(error).__name__)
    return answer(FAILED, request)


def answer(error: ApiError, request: Request) -> Response:
    """The answer that tells *error*. Where a body may be unread, the connection ends with it."""
    lines = (line.split(b": ", 1) for line in error.lines.splitlines())
    headers = {name.decode(): value.decode() for name, value in lines}
    if request.method == "POST":
        headers["connection"] = "close"
    headers["x-request-id"] = request.headers.get(REQUEST_ID, "")
    return Response(error.body(), error.status, headers, "application/json")
