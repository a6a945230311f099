"""A small judge of prompts: logistic regression over hashed words and letters, in pure Python.

The file is safetensors: one tensor ``weights`` of 2**bits signed bytes, and in the metadata ``format``, ``scale`` and
``bias`` (floats as ``float.hex`` writes them). The score of a text with the features F is
``sigmoid(bias + scale * sum of the weights of F / sqrt(number of F))``.
"""

from __future__ import annotations

import math
import re
import struct
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal
from zlib import crc32

import msgspec

from guideway.core.text_forms import latin

BITS = 18
WINDOW = 600
"""Characters that are judged at once, so that a request cannot hide in a long text; windows overlap by half."""

_FORMAT = "guideway.classifier.v1"
_MIX = 2654435761
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


class Classifier:
    """Weights that were read once; ``score`` gives how surely a prompt should be refused, in (0, 1)."""

    __slots__ = ("_bias", "_mask", "_scale", "_weights")

    def __init__(self, weights: array[int], scale: float, bias: float) -> None:
        self._weights, self._scale, self._bias = weights, scale, bias
        self._mask = len(weights) - 1

    def score(self, text: str) -> float:
        """The highest score of any window of *text*."""
        last = max(0, len(text) - WINDOW // 2)
        return max(self._score(text[start : start + WINDOW]) for start in range(0, last + 1, WINDOW // 2))

    def _score(self, text: str) -> float:
        found = features(text, self._mask)
        if not found:
            return sigmoid(self._bias)
        weights = self._weights
        total = sum([weights[feature] for feature in found])
        return sigmoid(self._bias + self._scale * total / math.sqrt(len(found)))


def features(text: str, mask: int = (1 << BITS) - 1) -> set[int]:
    """The features of *text*, as numbers from 0 to *mask*: words, pairs of words, letters four by four."""
    words = _WORD.findall(latin(text))
    if not words:
        return set()
    line = " ".join(words).encode()
    found = {(gram * _MIX >> 14) & mask for gram in _fours(b" %b " % line)}
    tokens = [b"<", *line.split(b" "), b">"]
    found.update([crc32(token, 1) & mask for token in tokens])
    found.update([crc32(b"%b %b" % pair, 2) & mask for pair in pairwise(tokens)])
    found.update([crc32(b"%b %b" % pair, 3) & mask for pair in zip(tokens, tokens[2:], strict=False)])
    return found


def _fours(line: bytes) -> list[int]:
    """Every four bytes of *line* that stand together, as numbers; cut by ``struct``, which is faster than slices."""
    grams: list[int] = []
    for start in range(min(4, len(line) - 3)):
        grams += struct.unpack_from(f"<{(len(line) - start) // 4}I", line, start)
    return grams


def sigmoid(z: float) -> float:
    """1 / (1 + e**-z), for any *z*."""
    return 0.5 * (1.0 + math.tanh(z / 2.0))


def write_classifier(weights: Sequence[float], bias: float) -> bytes:
    """The file for *weights*, one per feature; their number is a power of two. Each is rounded to one of 255 steps."""
    scale = max(map(abs, weights), default=0.0) / 127.0 or 1.0
    size = len(weights)
    head = {
        "__metadata__": {"bias": bias.hex(), "format": _FORMAT, "scale": scale.hex()},
        "weights": {"dtype": "I8", "shape": [size], "data_offsets": [0, size]},
    }
    text = msgspec.json.encode(head)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + array("b", [round(weight / scale) for weight in weights]).tobytes()


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    dtype: Literal["I8"]
    shape: tuple[int]
    data_offsets: tuple[int, int]


class _Metadata(msgspec.Struct, forbid_unknown_fields=True):
    bias: str
    format: Literal["guideway.classifier.v1"]
    scale: str


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    metadata: _Metadata = msgspec.field(name="__metadata__")
    weights: _Tensor


def read_classifier(data: bytes) -> Classifier:
    """The classifier in the bytes of its file.

    Raises:
        ValueError: it is not one, or not whole.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    try:
        head = msgspec.json.decode(data[8 : min(start, 4096)], type=_Head)
    except msgspec.DecodeError:
        raise ValueError("not the file of a classifier") from None
    scale, bias = float.fromhex(head.metadata.scale), float.fromhex(head.metadata.bias)
    size = len(data) - start
    whole = head.weights.shape == (size,) and head.weights.data_offsets == (0, size) and not size & (size - 1)
    if not whole or not 1 <= size <= 1 << 24 or not math.isfinite(scale) or not math.isfinite(bias):
        raise ValueError("the file of the classifier is not whole")
    return Classifier(array("b", data[start:]), scale, bias)
