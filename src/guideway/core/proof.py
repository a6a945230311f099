"""Does an answer prove that a model computed it? Pure: a body in, why it proves nothing out."""

from __future__ import annotations

import math
from typing import Any

import msgspec

SLACK = 1e-3
"""How far the probabilities of all classes may be from 1 together: they are written in float32."""


class _Output(msgspec.Struct):
    name: str
    data: list[Any]


class _Inference(msgspec.Struct):
    outputs: list[_Output]


_decode = msgspec.json.Decoder(_Inference).decode


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
