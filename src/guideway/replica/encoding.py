"""What every server of an encoder does: paths of the Open Inference Protocol, how many are in the house, health."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from guideway import __version__
from guideway.kit.http1 import Request, Response
from guideway.replica.oip import Refused, answer, error

Route = tuple[str, Callable[[Request], Awaitable[Response]]]


class EncoderServer:
    """Answers requests about the model *name*, on the paths of the protocol and on *more*.

    *limit* is the number of requests in the house at once; one more is told to come again (429).
    """

    def __init__(self, name: str, limit: int, more: Mapping[str, Route] | None = None) -> None:
        self.name, self.draining = name, False
        self._limit, self._inside = limit, 0
        model = f"/v2/models/{name}"
        self._routes: dict[str, Route] = {
            "/v2": ("GET", self._server),
            "/v2/health/live": ("GET", self._live),
            "/v2/health/ready": ("GET", self._ready),
            model: ("GET", self._metadata),
            f"{model}/ready": ("GET", self._ready),
            f"{model}/infer": ("POST", self.infer),
            "/healthz": ("GET", self._live),
            **(more or {}),
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request; what is wrong with it comes back as an error of the protocol, never as an exception."""
        method, route = self._routes.get(request.path, ("", None))
        try:
            if route is None:
                raise Refused(404, f"there is no {request.path}")
            if request.method != method:
                raise Refused(405, f"{request.path} takes {method}")
            return await route(request)
        except Refused as why:
            return self.refused(request.path, why)

    def refused(self, path: str, why: Refused) -> Response:
        """How somebody who asked on *path* is told *why*."""
        return error(why.status, why.message)

    async def infer(self, request: Request) -> Response:
        """Answer a request for inference.

        Raises:
            Refused: it cannot be answered.
        """
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """``inputs``, ``outputs`` and ``parameters`` of the model, as its metadata tells them."""
        raise NotImplementedError

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be in the house.

        Raises:
            Refused: it is full, or about to close.
        """
        if self.draining:
            raise Refused(503, "this server is stopping")
        if self._inside >= self._limit:
            raise Refused(429, "too many requests at once; come again soon")
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    async def _metadata(self, _: Request) -> Response:
        return answer({"name": self.name, "versions": [], "platform": "onnxruntime", **self.described()})

    async def _server(self, _: Request) -> Response:
        return answer({"name": "guideway", "version": __version__, "extensions": []})

    async def _live(self, _: Request) -> Response:
        return answer({"live": True, "inside": self._inside})

    async def _ready(self, _: Request) -> Response:
        return answer({"name": self.name, "ready": not self.draining}, 503 if self.draining else 200)
