"""One request as a worker sees it, and the checks that need nothing but its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from guideway.core.route import ApiKey
from guideway.gateway import errors, oip, paths
from guideway.gateway.errors import ApiError
from guideway.gateway.keys import KeyRing

T = TypeVar("T")


class Request:
    """One request. ``headers`` holds only the names that somebody here looks at, in small letters.

    ``refusal`` is set when it was refused before it reached us whole; ``surplus`` says that unread bytes of it follow.
    """

    __slots__ = ("body", "headers", "keep_alive", "key", "method", "path", "refusal", "surplus", "version")

    def __init__(self) -> None:
        self.method = b""
        self.path = b""
        self.version = "1.1"
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = False
        self.key: ApiKey | None = None
        self.refusal: ApiError | None = None
        self.surplus = False

    @property
    def has_body(self) -> bool:
        """Does the head announce a body?"""
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers


def refuse(request: Request, keys: KeyRing, body_limit: int) -> ApiError | None:
    """Why the head of *request* is refused, or None. Sets its key."""
    return _framing(request) or _caller(request, keys) or _purpose(request, body_limit)


def _framing(request: Request) -> ApiError | None:
    if request.version not in {"1.1", "1.0"}:
        return errors.HTTP_VERSION
    coding = request.headers.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or request.version == "1.0"):
        return errors.malformed("the only transfer coding understood is chunked, in HTTP/1.1")
    if request.version == "1.1" and b"host" not in request.headers:
        return errors.malformed("the Host header is missing")
    return None


def _caller(request: Request, keys: KeyRing) -> ApiError | None:
    request.key = keys.find(request.headers.get(b"authorization", b""))
    return errors.NO_KEY if request.key is None and request.path not in paths.OPEN else None


def _purpose(request: Request, body_limit: int) -> ApiError | None:
    allowed = paths.methods(request.path)
    if allowed is None:
        return errors.NO_PATH
    if request.method not in allowed:
        return errors.wrong_method(allowed)
    if int(request.headers.get(b"content-length", b"0")) > body_limit:
        return errors.too_large(body_limit)
    if request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return errors.ENCODED_BODY
    expected = request.headers.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        return errors.EXPECTATION
    return None


class Peek(msgspec.Struct):
    """The fields of a body that the gateway reads; the rest is passed on unread."""

    model: str
    stream: bool | None = None
    user: str | None = None


class Inference(msgspec.Struct):
    """The field of a body of the Open Inference Protocol that is checked: it names no model, its path does."""

    id: str | None = None


_decode = msgspec.json.Decoder(Peek).decode
_decode_inference = msgspec.json.Decoder(Inference).decode


def peek_at(request: Request) -> Peek | ApiError:
    """Which model *request* is for and how it is to be answered, or what is wrong with it."""
    target = oip.target(request.path)
    if target is None:
        return peek(request.body)
    wrong = _read(_decode_inference, request.body) if target.purpose == "infer" else None
    return wrong if isinstance(wrong, ApiError) else Peek(target.model)


def peek(body: bytes) -> Peek | ApiError:
    """Read model, stream and user out of *body*, or say what is wrong with it."""
    return _read(_decode, body)


def _read(decode: Callable[[bytes], T], body: bytes) -> T | ApiError:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        return errors.bad_body(f"the body is not a request: {error}", _param(str(error)))
    except msgspec.DecodeError as error:
        return errors.bad_body(f"the body is not JSON: {error}")
    except RecursionError:
        return errors.bad_body("the body is nested too deeply")


def _param(message: str) -> str | None:
    """Which field a validation message is about."""
    return next((name for name in Peek.__struct_fields__ if f"$.{name}" in message or f"`{name}`" in message), None)
