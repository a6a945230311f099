"""The Open Inference Protocol v2 over one classifier: a text in, its label, score and probabilities out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guideway.core.outliers import strangest
from guideway.kit.http1 import Request, Response
from guideway.replica.batching import Batcher
from guideway.replica.classifier import ClassifierSettings, Octets, Reader, Unreadable
from guideway.replica.encoding import EncoderServer
from guideway.replica.oip import TEXTS, Input, Refused, answer, outputs_of, read_inference, texts_of

LONG = 16 * 1024
"""Characters from which on texts are tokenized beside the event loop."""
OUTPUTS = ("label", "score", "probabilities")
DEFAULT = OUTPUTS[:2]
OUTLIER = "outlier"
"""The output, and part of the header, that says what share of ordinary texts is at least as far off."""


class Classification(EncoderServer):
    """Answers requests about the model *name*.

    Args:
        batcher: computes the probabilities of a text.
        limit: requests in the house at once; one more is told to come again (429).
        tells: the last number of a row is the share of ordinary texts that are at least as far off.
    """

    def __init__(
        self,
        name: str,
        settings: ClassifierSettings,
        reader: Reader,
        batcher: Batcher,
        *,
        limit: int,
        tells: bool = False,
    ) -> None:
        super().__init__(name, limit)
        self._more = (OUTLIER,) if tells else ()
        self._settings, self._reader, self._batcher = settings, reader, batcher

    async def infer(self, request: Request) -> Response:
        """Label, score and probabilities of each text; how far off each is, and in the header all of them."""
        asked = read_inference(request.body)
        rows = self._rows(asked.inputs[0])
        outputs = outputs_of(asked.outputs, (*OUTPUTS, *self._more), (*DEFAULT, *self._more))
        with self.entered():
            found = await self._computed(rows)
        if not self._more:
            return answer(self._said(asked.id, found, outputs))
        shares = found[:, -1]
        said = self._said(asked.id, found[:, :-1].astype(np.float32), outputs, shares)
        together = strangest(shares.tolist())
        return answer(said)._replace(headers=((f"x-guideway-{OUTLIER}", repr(together)),))

    def _rows(self, tensor: Input) -> Sequence[str] | list[list[int]]:
        """The texts of a request; or the numbers, for a classifier of bytes that is given them as they are."""
        octets = self._settings.octets
        return _numbers(tensor, octets) if octets and tensor.name == octets.name else texts_of(tensor)

    async def _computed(self, rows: Sequence[str] | list[list[int]]) -> NDArray[Any]:
        """One row for each text, or row of numbers; one column for each class, and one for the share."""
        texts = [row for row in rows if isinstance(row, str)]
        tokens = [row for row in rows if isinstance(row, list)]
        if texts:
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
        try:
            tokens = [self._reader.encode(text) for text in texts]
        except Unreadable as error:
            raise Refused(400, str(error)) from None
        if not all(tokens):
            raise Refused(400, f"text {tokens.index([])} is empty")
        return tokens

    def _said(
        self, id: str | None, found: NDArray[Any], outputs: Sequence[str], shares: NDArray[Any] | None = None
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
        if shares is not None:
            whole[OUTLIER] = {"datatype": "FP64", "shape": [rows], "data": shares.tolist()}
        said = [{"name": name, **whole[name]} for name in outputs]
        return {"model_name": self.name, **({"id": id} if id is not None else {}), "outputs": said}

    def described(self) -> dict[str, Any]:
        """What a request may bring, the outputs, and the classes."""
        classes, settings = len(self._settings.labels), self._settings
        return {
            "inputs": self._inputs(),
            "outputs": [
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "score", "datatype": "FP32", "shape": [-1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
                *({"name": name, "datatype": "FP64", "shape": [-1]} for name in self._more),
            ],
            "parameters": {
                "labels": settings.labels,
                "threshold": settings.threshold,
                "out_of_scope": settings.out_of_scope,
            },
        }

    def _inputs(self) -> list[dict[str, Any]]:
        """What a request may bring; one of them."""
        octets = self._settings.octets
        text: dict[str, Any] = {"name": "text", "datatype": "BYTES", "shape": [-1]}
        if not octets:
            return [text]
        said = {"begin": octets.begin, "end": octets.end, "padding": octets.padding, "block": octets.block}
        fixed = {"name": octets.name, "datatype": octets.datatype, "shape": [-1, octets.size], "parameters": said}
        return [text, fixed]


def _numbers(tensor: Input, octets: Octets) -> list[list[int]]:
    """The rows of numbers of a request.

    Raises:
        Refused: the type, the shape or a number is another than the model takes.
    """
    size, top = octets.size, max(octets.padding, 255)
    rows = len(tensor.data) // size
    if tensor.datatype != octets.datatype or tensor.shape != [rows, size] or len(tensor.data) != rows * size:
        raise Refused(400, f"the input '{octets.name}' has the datatype {octets.datatype} and the shape [rows, {size}]")
    if not 0 < rows <= TEXTS:
        raise Refused(400, f"a request has one row at least and {TEXTS} at most")
    if not all(type(one) is int and 0 <= one <= top for one in tensor.data):
        raise Refused(400, f"'data' of the input '{octets.name}' is a flat list of whole numbers from 0 to {top}")
    return [tensor.data[at : at + size] for at in range(0, len(tensor.data), size)]
