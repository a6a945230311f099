"""``POST /v1/embeddings`` as OpenAI has it, and the Open Inference Protocol v2, over one sentence encoder."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from guideway.kit.http1 import Request, Response
from guideway.replica import oip
from guideway.replica.batching import Batcher
from guideway.replica.classifier import TextReader
from guideway.replica.embedder import OUTPUT, EmbedderSettings, Embeddings
from guideway.replica.encoding import EncoderServer
from guideway.replica.oip import Refused
from guideway.replica.shapes import RequestError

PATH = "/v1/embeddings"
TEXTS = 2048
"""Texts in one request of the OpenAI API."""
LONG = 16 * 1024
"""Characters from which on texts are tokenized beside the event loop."""
WINDOW = 32
"""Texts of one request that wait at once, so that those of others come in between."""
CUT = -1
"""``truncate_prompt_tokens`` that asks for what fits of a longer text; nothing is cut unasked."""


class Asked(msgspec.Struct):
    """The body of a request. ``input`` may be token ids for others; here that is refused with a reason."""

    model: str
    input: Any
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    truncate_prompt_tokens: int | None = None
    user: str | None = None


class Embedding(EncoderServer):
    """Answers requests about the model *name*.

    Args:
        batcher: computes the embedding of a text.
        limit: requests in the house at once; one more is told to come again (429).
    """

    def __init__(
        self, name: str, settings: EmbedderSettings, reader: TextReader, batcher: Batcher, *, limit: int
    ) -> None:
        super().__init__(name, limit, {PATH: ("POST", self._embed)})
        self._settings, self._reader, self._batcher = settings, reader, batcher

    async def handle(self, request: Request) -> Response:
        """Answer one request; what is wrong with it comes back as an error in the shape of its API."""
        try:
            return await super().handle(request)
        except RequestError as why:
            return oip.error(why.status, why.message) if request.path.startswith("/v2") else why.response()

    def refused(self, path: str, why: Refused) -> Response:
        """In the shape of the API that *path* belongs to."""
        if path.startswith("/v2"):
            return super().refused(path, why)
        return RequestError(why.status, why.message).response()

    async def _embed(self, request: Request) -> Response:
        asked = _read(request.body)
        texts = _texts(asked.input)
        self._check(asked)
        found, tokens = await self._embedded(texts, cut=asked.truncate_prompt_tokens == CUT)
        shown: Sequence[Any] = found.tolist()
        if asked.encoding_format == "base64":
            shown = [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in found]
        data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(shown)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return oip.answer({"object": "list", "data": data, "model": self.name, "usage": usage})

    def _check(self, asked: Asked) -> None:
        """Refuse what this model cannot do.

        Raises:
            RequestError: it is another model, or other embeddings than it gives.
        """
        if asked.model != self.name:
            raise RequestError(404, f"there is no model '{asked.model}' here", code="model_not_found", param="model")
        if asked.dimensions not in (None, self._settings.width):
            raise RequestError(
                400,
                f"embeddings of this model have {self._settings.width} numbers; it was not taught to do with fewer",
                param="dimensions",
            )
        if asked.truncate_prompt_tokens not in (None, CUT):
            raise RequestError(
                400,
                f"either {CUT}, so that a longer text is cut to what the model reads, or nothing",
                param="truncate_prompt_tokens",
            )

    async def infer(self, request: Request) -> Response:
        """The same embeddings over the Open Inference Protocol."""
        asked = oip.read_inference(request.body)
        texts = oip.texts_of(asked.inputs[0])
        oip.outputs_of(asked.outputs, (OUTPUT,), (OUTPUT,))
        found, _ = await self._embedded(texts, cut=(asked.parameters or {}).get("truncate_prompt_tokens") == CUT)
        output = {"name": OUTPUT, "datatype": "FP32", "shape": list(found.shape), "data": found.ravel().tolist()}
        id = {"id": asked.id} if asked.id is not None else {}
        return oip.answer({"model_name": self.name, **id, "outputs": [output]})

    async def _embedded(self, texts: Sequence[str], *, cut: bool) -> tuple[Embeddings, int]:
        """The embedding of each text, and how many tokens were read."""
        with self.entered():
            large = sum(map(len, texts)) >= LONG
            tokens = await asyncio.to_thread(self._tokens, texts, cut) if large else self._tokens(texts, cut)
            return await self._computed(tokens), sum(map(len, tokens))

    async def _computed(self, tokens: Sequence[list[int]]) -> Embeddings:
        rows: list[Any] = []
        try:
            for at in range(0, len(tokens), WINDOW):
                rows += await asyncio.gather(*(self._batcher.submit(ids) for ids in tokens[at : at + WINDOW]))
            found = np.stack(rows)
        except Exception:
            raise Refused(500, "the model failed on this request") from None
        if not np.isfinite(found).all():
            raise Refused(500, "the model gave no numbers for this request")
        return found

    def _tokens(self, texts: Sequence[str], cut: bool) -> list[list[int]]:
        tokens = []
        for number, text in enumerate(texts):
            ids, longer = self._reader.read(text)
            if not text.strip() or not ids:
                raise Refused(400, f"text {number} is empty")
            if longer and not cut:
                raise RequestError(
                    400,
                    f"text {number} is longer than the {self._settings.max_tokens} tokens that this model reads; "
                    f"cut it into pieces, or send truncate_prompt_tokens: {CUT}",
                    code="context_length_exceeded",
                    param="input",
                )
            tokens.append(ids)
        return tokens

    def described(self) -> dict[str, Any]:
        """One input of texts, one output of embeddings."""
        width = self._settings.width
        return {
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, width]}],
            "parameters": {"width": width, "max_tokens": self._settings.max_tokens},
        }


def _read(body: bytes) -> Asked:
    try:
        return msgspec.json.decode(body, type=Asked)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RequestError(400, f"the request cannot be read: {error}", code="invalid_request") from None


def _texts(given: Any) -> list[str]:
    """The texts of ``input``.

    Raises:
        RequestError: it is something else.
    """
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 0 < len(texts) <= TEXTS:
        raise RequestError(400, f"a text, or a list of one text at least and {TEXTS} at most", param="input")
    if all(isinstance(one, str) for one in texts):
        return texts
    if all(isinstance(one, int | list) for one in texts):
        raise RequestError(
            400,
            "send text: ids of another tokenizer would quietly mean something else here "
            "(LangChain: check_embedding_ctx_length=False)",
            code="token_ids",
            param="input",
        )
    raise RequestError(400, "everything in a list is a text", param="input")


def refusal(status: int) -> Response:
    """What the HTTP server says when there is no request to answer."""
    return RequestError(status, oip.phrase(status)).response()
