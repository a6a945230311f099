"""The Open Inference Protocol v2 over one classifier: a text in, its label, score and probabilities out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from guideway import __version__
from guideway.kit.http1 import Request, Response
from guideway.replica.batching import Batcher
from guideway.replica.classifier import ClassifierSettings, TextReader
from guideway.replica.oip import Refused, answer, error, outputs_of, read_inference, texts_of

LONG = 16 * 1024
"""Characters from which on texts are tokenized beside the event loop."""
OUTPUTS = ("label", "score", "probabilities")
DEFAULT = OUTPUTS[:2]


class Classification:
    """Answers requests about the model *name*.

    Args:
        batcher: computes the probabilities of a text.
        limit: requests in the house at once; one more is told to come again (429).
    """

    def __init__(
        self, name: str, settings: ClassifierSettings, reader: TextReader, batcher: Batcher, *, limit: int
    ) -> None:
        self._name, self._settings, self._reader, self._batcher = name, settings, reader, batcher
        self._limit, self._inside = limit, 0
        self.draining = False
        model = f"/v2/models/{name}"
        self._routes: dict[str, tuple[str, Callable[[Request], Awaitable[Response]]]] = {
            "/v2": ("GET", self._server),
            "/v2/health/live": ("GET", self._live),
            "/v2/health/ready": ("GET", self._ready),
            model: ("GET", self._metadata),
            f"{model}/ready": ("GET", self._ready),
            f"{model}/infer": ("POST", self._infer),
            "/healthz": ("GET", self._live),
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
            return error(why.status, why.message)

    async def _infer(self, request: Request) -> Response:
        asked = read_inference(request.body)
        texts, outputs = texts_of(asked.inputs[0]), outputs_of(asked.outputs, OUTPUTS, DEFAULT)
        if self.draining:
            raise Refused(503, "this server is stopping")
        if self._inside >= self._limit:
            raise Refused(429, "too many requests at once; come again soon")
        self._inside += 1
        try:
            found = await self._probabilities(texts)
        finally:
            self._inside -= 1
        return answer(self._said(asked.id, found, outputs))

    async def _probabilities(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """One row for each text, one column for each class."""
        large = sum(map(len, texts)) >= LONG
        tokens = await asyncio.to_thread(self._tokens, texts) if large else self._tokens(texts)
        try:
            found = np.stack(await asyncio.gather(*(self._batcher.submit(ids) for ids in tokens)))
        except Exception:
            raise Refused(500, "the model failed on this request") from None
        if not np.isfinite(found).all():
            raise Refused(500, "the model gave no numbers for this request")
        return found

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokens = [self._reader.encode(text) for text in texts]
        if not all(tokens):
            raise Refused(400, f"text {tokens.index([])} is empty")
        return tokens

    def _said(
        self, id: str | None, found: np.ndarray[Any, np.dtype[np.float32]], outputs: Sequence[str]
    ) -> dict[str, Any]:
        rows, classes = found.shape
        whole: dict[str, dict[str, Any]] = {
            "label": {"datatype": "BYTES", "shape": [rows], "data": [self._settings.label_of(row) for row in found]},
            "score": {"datatype": "FP32", "shape": [rows], "data": found.max(axis=1).tolist()},
            "probabilities": {
                "datatype": "FP32",
                "shape": [rows, classes],
                "parameters": {"labels": self._settings.labels},
                "data": found.ravel().tolist(),
            },
        }
        said = [{"name": name, **whole[name]} for name in outputs]
        return {"model_name": self._name, **({"id": id} if id is not None else {}), "outputs": said}

    async def _metadata(self, _: Request) -> Response:
        classes, settings = len(self._settings.labels), self._settings
        outputs = [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
        ]
        return answer(
            {
                "name": self._name,
                "versions": [],
                "platform": "onnxruntime",
                "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
                "outputs": outputs,
                "parameters": {
                    "labels": settings.labels,
                    "threshold": settings.threshold,
                    "out_of_scope": settings.out_of_scope,
                },
            }
        )

    async def _server(self, _: Request) -> Response:
        return answer({"name": "guideway", "version": __version__, "extensions": []})

    async def _live(self, _: Request) -> Response:
        return answer({"live": True, "inside": self._inside})

    async def _ready(self, _: Request) -> Response:
        return answer({"name": self._name, "ready": not self.draining}, 503 if self.draining else 200)
