"""One request as a worker sees it, and the checks that need nothing but its head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from guideway.core.route import ApiKey
from guideway.gateway import errors, oip, paths
from guideway.gateway.batches.credential import check
from guideway.gateway.errors import ApiError
from guideway.gateway.keys import KeyRing
from guideway.gateway.names import are_single
from guideway.gateway.paths import Way

T = TypeVar("T")
TRACE = (b"traceparent", b"tracestate")
MOST_TOKENS = 131_072
PROMPTS = 2048
STOP_CHARACTERS = 1024


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
    that of the body, as its head says. ``stream``: its body, where that is passed on as it comes. ``way`` says who
    answers, ``owner`` is the tenant of its key, ``line`` and ``lines`` are what a replica is sent of its head,
    ``plain`` is what ``Peek.is_plain`` said of its body.

    ``refusal`` is set when it was refused before it reached us whole; ``surplus`` says that unread bytes of it follow.
    """

    __slots__ = (
        "batch",
        "body",
        "headers",
        "keep_alive",
        "key",
        "length",
        "line",
        "lines",
        "method",
        "owner",
        "path",
        "plain",
        "query",
        "refusal",
        "stream",
        "surplus",
        "version",
        "way",
    )

    def __init__(self) -> None:
        self.method = b""
        self.path = b""
        self.query = b""
        self.batch = False
        self.stream: Body | None = None
        self.version = "1.1"
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.length = 0
        self.keep_alive = False
        self.key: ApiKey | None = None
        self.refusal: ApiError | None = None
        self.surplus = False
        self.way: Way = "here"
        self.owner = ""
        self.line = self.lines = b""
        self.plain = False

    def again(self) -> Request:
        """Another request with the same accepted head."""
        new = Request.__new__(Request)
        new.method, new.path, new.version, new.headers = self.method, self.path, self.version, self.headers
        new.body, new.length, new.keep_alive, new.key = b"", self.length, self.keep_alive, self.key
        new.refusal, new.surplus, new.query, new.stream, new.batch = None, False, self.query, None, self.batch
        new.plain = False
        new.way, new.owner, new.line, new.lines = self.way, self.owner, self.line, self.lines
        return new

    def accepted(self) -> None:
        """Its head is whole and sound: whatever follows from the head alone is found now, once for all its like."""
        headers = self.headers
        self.way = paths.way(self.path, self.method)
        self.owner = self.key.owner if self.key is not None else ""
        self.line = b"%b %b HTTP/1.1\r\nHost: " % (self.method, self.path)
        self.lines = b"Content-Type: %b\r\n" % headers.get(b"content-type", b"application/json")
        self.lines += b"".join(b"%b: %b\r\n" % (name, headers[name]) for name in TRACE if name in headers)

    @property
    def has_body(self) -> bool:
        """Does the head announce a body?"""
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers


def unasked() -> Request:
    """What stands for the request of a client that is sent away before it could ask; its bytes may be on their way."""
    request = Request()
    request.keep_alive, request.surplus = False, True
    return request


def refuse(
    request: Request, keys: KeyRing, body_limit: int, file_limit: int = 0, batch_secret: bytes = b""
) -> ApiError | None:
    """Why the head of *request* is refused, or None. Sets its key. Limits in bytes; *file_limit* is for files.

    *batch_secret* is what the process that runs batches signs with, for it asks in the name of a key.
    """
    limit = file_limit if paths.is_side(request.path) else body_limit
    return _framing(request) or _caller(request, keys, batch_secret) or _purpose(request, limit)


def _framing(request: Request) -> ApiError | None:
    if request.version not in {"1.1", "1.0"}:
        return errors.HTTP_VERSION
    coding = request.headers.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or request.version == "1.0"):
        return errors.malformed("the only transfer coding understood is chunked, in HTTP/1.1")
    if request.version == "1.1" and b"host" not in request.headers:
        return errors.malformed("the Host header is missing")
    return None


def _caller(request: Request, keys: KeyRing, batch_secret: bytes) -> ApiError | None:
    signed = request.headers.get(b"x-guideway-batch")
    if signed is not None and batch_secret:
        id = check(batch_secret, signed.decode("latin-1"))
        request.key, request.batch = keys.named(id) if id is not None else None, True
    else:
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


_ABSENT = msgspec.Raw()


class Peek(msgspec.Struct, gc=False):
    """The fields of a body that the gateway reads; the rest is passed on unread."""

    model: str
    stream: bool | None = None
    user: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    temperature: float | None = None
    seed: int | None = None
    stream_options: dict[str, Any] | None = None
    tools: msgspec.Raw = _ABSENT
    functions: msgspec.Raw = _ABSENT
    prompt: Any = None

    @property
    def answers(self) -> int:
        """How many answers are made: for each prompt, of which a list may hold many, as many as it asks for."""
        prompt = self.prompt
        prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
        return prompts * max(self.n or 1, self.best_of or 1, 1)

    @property
    def most_tokens(self) -> int:
        """The larger of its bounds on one answer, for nobody knows which one the model server reads; 0: it has none."""
        return max(self.max_completion_tokens or 0, self.max_tokens or 0)

    @property
    def has_tools(self) -> bool:
        """Does it declare functions?"""
        return bool(self.tools) or bool(self.functions)

    @property
    def is_plain(self) -> bool:
        """Does it ask for nothing but the answer to its prompt, in some length?"""
        return False


class Turn(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message that is one text."""

    role: str
    content: str


class Plain(Peek, gc=False, forbid_unknown_fields=True):
    """A body that has no field but these, each once: nothing in it bounds or shapes the answer in a way that is to be
    checked, and whatever it says is text.
    """

    messages: list[Turn] | None = None
    prompt: str | list[str] | None = None
    input: str | list[str] | None = None
    stop: str | list[str] | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None

    @property
    def is_plain(self) -> bool:
        """Does it ask for nothing but the answer to its prompt, in some length?"""
        return (
            self.user is None
            and self.n is None
            and self.best_of is None
            and not self.temperature
            and self.seed is None
            and not self.tools
            and not self.functions
            and 0 <= (self.max_tokens or 0) <= MOST_TOKENS
            and 0 <= (self.max_completion_tokens or 0) <= MOST_TOKENS
            and (self.stop is None or _length(self.stop) <= STOP_CHARACTERS)
            and (not isinstance(self.prompt, list) or len(self.prompt) <= PROMPTS)
            and (not isinstance(self.input, list) or len(self.input) <= PROMPTS)
        )


class Inference(msgspec.Struct):
    """The field of a body of the Open Inference Protocol that is checked: it names no model, its path does."""

    id: str | None = None


_decode = msgspec.json.Decoder(Peek).decode
_decode_plain = msgspec.json.Decoder(Plain).decode
_decode_inference = msgspec.json.Decoder(Inference).decode
_INCLUDE_USAGE = b',"stream_options":{"include_usage":true}}'


def peek_at(request: Request) -> Peek | ApiError:
    """Which model *request* is for and how it is to be answered, or what is wrong with it."""
    target = oip.target(request.path) if oip.speaks(request.path) else None
    if target is None:
        found = peek(request.body)
        request.plain = not isinstance(found, ApiError) and found.is_plain
        return found
    wrong = _read(_decode_inference, request.body) if target.purpose == "infer" else None
    return wrong if isinstance(wrong, ApiError) else Peek(target.model)


def peek(body: bytes) -> Peek | ApiError:
    """Read the fields of *body*, or say what is wrong with it."""
    try:
        plain = _decode_plain(body)
    except (msgspec.DecodeError, RecursionError):
        return _read(_decode, body)
    return plain if are_single(body, plain) else _read(_decode, body)


def _read(decode: Callable[[bytes], T], body: bytes) -> T | ApiError:
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        return errors.bad_body(f"the body is not a request: {error}", _param(str(error)))
    except msgspec.DecodeError as error:
        return errors.bad_body(f"the body is not JSON: {error}")
    except RecursionError:
        return errors.bad_body("the body is nested too deeply")


def asking_for_usage(body: bytes) -> bytes:
    """*body*, a JSON object that has no ``stream_options``, with the wish to be told the usage at the end."""
    return body.rstrip()[:-1] + _INCLUDE_USAGE


def _length(stop: str | list[str] | None) -> int:
    """Characters, and one for every text."""
    return sum(map(len, stop), len(stop)) if stop else 0


def _param(message: str) -> str | None:
    """Which field a validation message is about."""
    return next((name for name in Peek.__struct_fields__ if f"$.{name}" in message or f"`{name}`" in message), None)
