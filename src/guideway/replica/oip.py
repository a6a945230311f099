"""The Open Inference Protocol v2 as our own model servers speak it: one tensor of texts in, named outputs out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from guideway.kit.http1 import Response

TEXTS = 256
"""Texts in one request."""


class Refused(Exception):
    """A request that cannot be answered: an HTTP status, and a sentence for people."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Input(msgspec.Struct):
    """One tensor of a request; ours is of texts."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class Wanted(msgspec.Struct):
    """One output that is asked for."""

    name: str


class Inference(msgspec.Struct):
    """The body of a request."""

    inputs: Annotated[list[Input], Meta(min_length=1, max_length=1)]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] | None = None


def read_inference(body: bytes) -> Inference:
    """The request in *body*.

    Raises:
        Refused: it is none.
    """
    try:
        return msgspec.json.decode(body, type=Inference)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"the request cannot be read: {error}") from None


def texts_of(tensor: Input) -> list[str]:
    """The texts of a request.

    Raises:
        Refused: it is another tensor, or its shape does not fit what it holds.
    """
    if tensor.name != "text" or tensor.datatype != "BYTES":
        raise Refused(400, "the only input is 'text', with the datatype BYTES")
    if not all(isinstance(one, str) for one in tensor.data):
        raise Refused(400, "'data' of the input 'text' is a list of texts")
    if not 0 < len(tensor.data) <= TEXTS:
        raise Refused(400, f"a request has one text at least and {TEXTS} at most")
    if math.prod(tensor.shape) != len(tensor.data) or any(size < 0 for size in tensor.shape):
        raise Refused(400, f"the shape {tensor.shape} does not hold {len(tensor.data)} texts")
    return tensor.data


def outputs_of(asked: Sequence[Wanted] | None, known: Sequence[str], default: Sequence[str]) -> Sequence[str]:
    """The names of the outputs that are *asked* for, each once.

    Raises:
        Refused: one of them is not *known*.
    """
    names = [one.name for one in asked] if asked else default
    for name in names:
        if name not in known:
            raise Refused(400, f"there is no output '{name}', only {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def answer(value: object, status: int = 200) -> Response:
    """*value* as JSON."""
    return Response(status, msgspec.json.encode(value))


def error(status: int, message: str) -> Response:
    """An error in the shape of the protocol."""
    headers = (("Retry-After", "1"),) if status in (429, 503) else ()
    return Response(status, msgspec.json.encode({"error": message}), headers=headers)


def refusal(status: int) -> Response:
    """What the HTTP server says when there is no request to answer."""
    return error(status, phrase(status))


def phrase(status: int) -> str:
    """What *status* means, in the words of HTTP."""
    return HTTPStatus(status).phrase
