"""``plain_proxy.py PORT UPSTREAM``: a proxy as one writes it in an afternoon: key, a look at the body, pass through."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEYS = set(os.environ["PLAIN_PROXY_KEYS"].split())
UPSTREAM = f"http://127.0.0.1:{sys.argv[2]}"


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """One client for all requests; cookies and limits are not wanted."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        app.state.session = session
        yield


async def forward(request: Request) -> Response:
    """Check the key, look which model is asked for, and pass the rest through."""
    if request.headers.get("authorization", "").removeprefix("Bearer ") not in KEYS:
        return JSONResponse({"error": {"message": "wrong key"}}, 401)
    body = await request.body()
    asked = json.loads(body)
    if asked.get("model") != "poet":
        return JSONResponse({"error": {"message": "unknown model"}}, 404)
    headers = {"Content-Type": "application/json"}
    reply = await request.app.state.session.post(UPSTREAM + request.url.path, data=body, headers=headers)
    if asked.get("stream"):
        return StreamingResponse(_pieces(reply), reply.status, media_type="text/event-stream")
    return Response(await reply.read(), reply.status, media_type=reply.content_type)


async def _pieces(reply: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with reply:
        async for piece in reply.content.iter_any():
            yield piece


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v1/chat/completions", forward, methods=["POST"])], lifespan=lifespan)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
