"""Does an answer prove that a model computed it? Pure: a body in, why it proves nothing out."""

from __future__ import annotations

import math
from typing import Any

import msgspec

SLACK = 1e-3
"""How far the probabilities of all classes together, or the length of an embedding, may be from 1: in float32."""


class _Output(msgspec.Struct):
    name: str
    data: list[Any]


class _Inference(msgspec.Struct):
    outputs: list[_Output]


class _Embedded(msgspec.Struct):
    embedding: list[float]


class _Embeddings(msgspec.Struct):
    data: list[_Embedded]


_decode = msgspec.json.Decoder(_Inference).decode
_decode_embeddings = msgspec.json.Decoder(_Embeddings).decode


def no_class(body: bytes) -> str:
    """Why *body*, an answer of the Open Inference Protocol, is no classification of one text; empty when it is.

    It is one when it names a label, and the probabilities of all classes sum to 1, with the score as the largest.
    """
    try:
        outputs = {one.name: one.data for one in _decode(body).outputs}
    except (msgspec.DecodeError, RecursionError):
        return "its answer is not that of a model server"
    label, score, each = (outputs.get(name, []) for name in ("label", "score", "probabilities"))
    if len(label) != 1 or not isinstance(label[0], str) or len(each) < 2:
        return "it named no class"
    if not all(isinstance(one, int | float) and math.isfinite(one) for one in (*score, *each)):
        return "its probabilities are no numbers"
    if abs(math.fsum(each) - 1.0) > SLACK or len(score) != 1 or abs(max(each) - score[0]) > SLACK:
        return "its probabilities are none"
    return ""


def no_embedding(body: bytes, width: int) -> str:
    """Why *body*, an answer of ``POST /v1/embeddings``, is not one embedding of *width* numbers; empty when it is.

    It is one when its numbers are finite and its length is 1. *width* 0: of whatever width.
    """
    try:
        found = _decode_embeddings(body).data
    except (msgspec.DecodeError, RecursionError):
        return "its answer is not that of a model server"
    if len(found) != 1 or not found[0].embedding:
        return "it embedded nothing"
    numbers = found[0].embedding
    if width and len(numbers) != width:
        return f"its embedding has {len(numbers)} numbers, and its release says {width}"
    length = math.hypot(*numbers)
    if not math.isfinite(length):
        return "its embedding is no numbers"
    return "" if abs(length - 1.0) <= SLACK else "its embedding is none: its length is not 1"
