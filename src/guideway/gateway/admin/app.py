"""The admin plane over HTTP. Whoever reaches the Unix socket is trusted; over TCP every request proves its role."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guideway.core.errors import SpecError, Unavailable
from guideway.gateway.admin.access import Access
from guideway.gateway.admin.desk import Desk, NewKey, Then
from guideway.gateway.log import log

BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
_WHO = "guideway.who"
_JSON = "application/json"
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Endpoint = Callable[[Request], Awaitable[Response]]
Asked = TypeVar("Asked")


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What comes after draining: fresh workers, or nothing."""

    then: Then = "replace"


def build(desk: Desk, access: Access | None) -> ASGIApp:
    """The application; *access* None trusts everyone, as on a Unix socket that only its owner can open."""
    pages = Pages(desk)
    found: tuple[tuple[str, str, Endpoint], ...] = (
        ("GET", "/healthz", pages.health),
        ("GET", "/metrics", pages.metrics),
        ("GET", "/v1/route", pages.route),
        ("GET", "/v1/workers", pages.workers),
        ("GET", "/v1/keys", pages.keys),
        ("POST", "/v1/keys", pages.make_key),
        ("DELETE", "/v1/keys/{id}", pages.revoke_key),
        ("POST", "/v1/drain", pages.drain),
    )
    routes = [Route(path, _answering(page), methods=[method]) for method, path, page in found]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _no_page})
    app.router.redirect_slashes = False
    return Gate(app, access)


class Gate:
    """Stands before every route, those that do not exist included. ``app`` is what lies behind it."""

    def __init__(self, app: Starlette, access: Access | None) -> None:
        self.app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            raise RuntimeError("the admin plane speaks HTTP only")
        scope[_WHO] = "admin plane"
        if self._access is not None:
            refusal = self._access.refuse(scope["method"], scope["path"], scope["headers"])
            if refusal is not None:
                await _error(refusal.status, refusal.message, refusal.code)(scope, receive, send)
                return
            scope[_WHO] = f"admin plane: key {self._access.who(scope['headers'])}"
        await self.app(scope, _bounded(receive), send)


class Pages:
    """One method for each route; what blocks runs in a thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def health(self, _: Request) -> Response:
        """Does the gateway serve?"""
        up = await run_in_threadpool(self._desk.standing) is not None
        return _json({"status": "ok" if up else "unavailable"}, 200 if up else 503)

    async def metrics(self, request: Request) -> Response:
        """The numbers of all workers."""
        page, content_type = await run_in_threadpool(self._desk.metrics, request.headers.get("accept", ""))
        return Response(page, headers={**_HEADERS, "Content-Type": content_type})

    async def route(self, _: Request) -> Response:
        """Who gets which release. It cannot be set here."""
        return _json(await run_in_threadpool(self._desk.route))

    async def workers(self, _: Request) -> Response:
        """The workers that run."""
        return _json({"workers": await run_in_threadpool(self._desk.workers)})

    async def keys(self, _: Request) -> Response:
        """All keys, without digests."""
        return _json({"keys": await run_in_threadpool(self._desk.keys)})

    async def make_key(self, request: Request) -> Response:
        """A new key, shown once."""
        asked = await _body(request, NewKey)
        return _json(await run_in_threadpool(self._desk.make_key, asked, request.scope[_WHO]), 201)

    async def revoke_key(self, request: Request) -> Response:
        """Make a key worthless."""
        id = request.path_params["id"]
        await run_in_threadpool(self._desk.revoke_key, id, request.scope[_WHO])
        return _json({"id": id, "revoked": True})

    async def drain(self, request: Request) -> Response:
        """Replace every worker, or stop the gateway; what is under way is finished."""
        then = (await _body(request, Drain)).then
        standing = await run_in_threadpool(self._desk.drain, then)
        return _json({"then": then, "pid": standing.pid, "workers": standing.workers}, 202)


def _answering(page: Endpoint) -> Endpoint:
    """*page*, whose errors tell nothing of the inside."""

    async def answered(request: Request) -> Response:
        try:
            return await page(request)
        except HTTPException as error:
            return _error(error.status_code, error.detail, "request")
        except SpecError as error:
            return _error(404, error.what, "not_found")
        except Unavailable as error:
            log("admin plane: something is away", page=page.__name__, why=str(error))
            return _error(503, "what is needed for that cannot be reached now; try again", "unavailable")
        except Exception as error:  # whatever it is, the client learns nothing of it
            log("admin plane: fault", page=page.__name__, kind=type(error).__name__)
            return _error(500, "that failed here", "internal")

    return answered


async def _body(request: Request, kind: type[Asked]) -> Asked:
    """The body of *request*, which may be empty.

    Raises:
        HTTPException: it is too large, too slow, or cannot be meant.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await request.body()
        return msgspec.json.decode(data or b"{}", type=kind)
    except TimeoutError:
        raise HTTPException(408, "the body did not come in time") from None
    except msgspec.ValidationError as error:
        raise HTTPException(400, f"the body makes no sense: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None


def _bounded(receive: Receive) -> Receive:
    """*receive*, which gives no more than 64 KiB of a body."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_BYTES:
            raise HTTPException(413, f"the body is larger than {BODY_BYTES} bytes")
        return message

    return bounded


async def _no_page(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    lines = dict(getattr(error, "headers", None) or {})
    message = "there is no such page" if status == 404 else "this page does not do that"
    return _error(status, message, "not_found" if status == 404 else "method_not_allowed", lines)


def _error(status: int, message: str, code: str, lines: dict[str, str] | None = None) -> Response:
    lines = {**(lines or {}), **({"WWW-Authenticate": "Bearer"} if status == 401 else {})}
    return _json({"error": {"message": message, "code": code}}, status, lines)


def _json(value: Any, status: int = 200, lines: dict[str, str] | None = None) -> Response:
    headers = {**_HEADERS, **(lines or {})}
    return Response(msgspec.json.encode(value), status, headers=headers, media_type=_JSON)
