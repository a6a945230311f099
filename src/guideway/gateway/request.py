"""One request as a worker sees it, and the checks that need nothing but its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from guideway.core.route import ApiKey
from guideway.gateway import errors
from guideway.gateway.errors import ApiError
from guideway.gateway.keys import KeyRing

HEALTH = b"/healthz"
MODELS = b"/v1/models"
READ = frozenset({b"GET", b"HEAD"})
WRITE = frozenset({b"POST"})
PATHS = {
    HEALTH: READ,
    MODELS: READ,
    b"/v1/chat/completions": WRITE,
    b"/v1/completions": WRITE,
    b"/v1/embeddings": WRITE,
}


SIDE = (b"/v1/files", b"/v1/batches")
_BELOW_SIDE = tuple(path + b"/" for path in SIDE)
SIDE_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"DELETE"})


class Body:
    """A body that is passed on as it comes, because it may be larger than memory. One reader, at most."""

    __slots__ = ("_pieces", "_taker", "ended", "size")

    def __init__(self) -> None:
        self.size = 0
        self.ended = False
        self._pieces: list[bytes] = []
        self._taker: Callable[[bytes, bool], None] | None = None

    def put(self, piece: bytes, ended: bool) -> None:
        """A further *piece*; *ended*: the last."""
        self.ended = ended
        if self._taker is not None:
            self._taker(piece, ended)
            return
        self._pieces.append(piece)
        self.size += len(piece)

    def take(self, taker: Callable[[bytes, bool], None]) -> None:
        """Give what came and what comes to *taker*."""
        pieces, self._pieces, self.size = self._pieces, [], 0
        self._taker = taker
        if pieces or self.ended:
            taker(b"".join(pieces), self.ended)

    def drop(self) -> None:
        """Nobody wants it."""
        self.take(lambda piece, ended: None)


class Request:
    """One request. ``headers`` holds only the names that somebody here looks at, in small letters; ``length`` is
    that of the body, as its head says. ``stream``: its body, where that is passed on as it comes.

    ``refusal`` is set when it was refused before it reached us whole; ``surplus`` says that unread bytes of it follow.
    """

    __slots__ = (
        "body",
        "headers",
        "keep_alive",
        "key",
        "length",
        "method",
        "path",
        "query",
        "refusal",
        "stream",
        "surplus",
        "version",
    )

    def __init__(self) -> None:
        self.method = b""
        self.path = b""
        self.query = b""
        self.stream: Body | None = None
        self.version = "1.1"
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.length = 0
        self.keep_alive = False
        self.key: ApiKey | None = None
        self.refusal: ApiError | None = None
        self.surplus = False

    def again(self) -> Request:
        """Another request with the same accepted head."""
        new = Request.__new__(Request)
        new.method, new.path, new.version, new.headers = self.method, self.path, self.version, self.headers
        new.body, new.length, new.keep_alive, new.key = b"", self.length, self.keep_alive, self.key
        new.refusal, new.surplus, new.query, new.stream = None, False, self.query, None
        return new

    @property
    def is_side(self) -> bool:
        """Does it concern files and batches, which a process beside the workers looks after?"""
        return self.path.startswith(SIDE) and (
            self.path in SIDE or self.path.startswith((b"/v1/files/", b"/v1/batches/"))
        )

    @property
    def has_body(self) -> bool:
        """Does the head announce a body?"""
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers


def refuse(request: Request, keys: KeyRing, body_limit: int, file_limit: int = 0) -> ApiError | None:
    """Why the head of *request* is refused, or None. Sets its key. Limits in bytes; *file_limit* is for files."""
    limit = file_limit if request.is_side else body_limit
    return _framing(request) or _caller(request, keys) or _purpose(request, limit)


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
    return errors.NO_KEY if request.key is None and request.path != HEALTH else None


def _purpose(request: Request, body_limit: int) -> ApiError | None:
    allowed = SIDE_METHODS if request.is_side else PATHS.get(request.path)
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


class Peek(msgspec.Struct, gc=False):
    """The fields of a body that the gateway reads; the rest is passed on unread."""

    model: str
    stream: bool | None = None
    user: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stream_options: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Peek).decode
_INCLUDE_USAGE = b',"stream_options":{"include_usage":true}}'


def peek(body: bytes) -> Peek | ApiError:
    """Read the fields of *body*, or say what is wrong with it."""
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        return errors.bad_body(f"the body is not a request: {error}", _param(str(error)))
    except msgspec.DecodeError as error:
        return errors.bad_body(f"the body is not JSON: {error}")
    except RecursionError:
        return errors.bad_body("the body is nested too deeply")


def asking_for_usage(body: bytes) -> bytes:
    """*body*, a JSON object that has no ``stream_options``, with the wish to be told the usage at the end."""
    return body.rstrip()[:-1] + _INCLUDE_USAGE


def _param(message: str) -> str | None:
    """Which field a validation message is about."""
    return next((name for name in Peek.__struct_fields__ if f"$.{name}" in message or f"`{name}`" in message), None)
