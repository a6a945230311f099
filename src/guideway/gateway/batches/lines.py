"""The lines of an input file: what must hold of them, and how one is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from typing import IO, TypeVar

import msgspec

from guideway.store.batches import LineError

LINES = 50_000
CUSTOM_ID_LENGTH = 512
ERRORS = 100
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")

_T = TypeVar("_T")


class Line(msgspec.Struct, frozen=True):
    """One request of a batch. ``body`` is its JSON text as it stands in the file."""

    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class Place(msgspec.Struct, frozen=True):
    """Where a line lies in its file, in bytes. ``number`` counts from 0."""

    number: int
    offset: int
    size: int


class Demands(msgspec.Struct, frozen=True):
    """What an input file must keep to: one endpoint, the models of the key (empty: all), bytes of a body."""

    endpoint: str
    models: Collection[str]
    body_limit: int


class Examined(msgspec.Struct, frozen=True):
    """What an input file holds. With errors, nothing of it runs."""

    total: int
    model: str | None
    errors: tuple[LineError, ...]


class _Body(msgspec.Struct):
    model: str
    stream: bool | None = None


_line = msgspec.json.Decoder(Line).decode
_body = msgspec.json.Decoder(_Body).decode


class _Wrong(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


def examine(file: IO[bytes], demands: Demands) -> Examined:
    """Read all lines of *file*, and name those that are wrong: at most 100, with their numbers."""
    examiner = _Examiner(demands)
    errors: list[LineError] = []
    total = 0
    for place in places(file, demands.body_limit):
        if total == LINES:
            errors.append(LineError("too_many_lines", f"there are more than {LINES} lines"))
            break
        total += 1
        try:
            examiner.look(read(file, place), place)
        except _Wrong as wrong:
            errors.append(LineError(wrong.code, wrong.message, place.number + 1, wrong.param))
        if len(errors) == ERRORS:
            break
    if not total:
        errors.append(LineError("empty_file", "the file has no lines"))
    return Examined(total, examiner.model, tuple(errors))


def places(file: IO[bytes], body_limit: int) -> Iterator[Place]:
    """Where the lines of *file* are; of a line that is too long only the first part, with a size above the limit."""
    limit = line_limit(body_limit)
    offset = number = 0
    while True:
        file.seek(offset)
        first = file.readline(limit + 1)
        if not first:
            return
        rest = first
        size = len(first)
        while len(rest) == limit + 1 and not rest.endswith(b"\n"):
            rest = file.readline(limit + 1)
            size += len(rest)
        yield Place(number, offset, len(first))
        offset, number = offset + size, number + 1


def read(file: IO[bytes], place: Place) -> bytes:
    """The bytes of a line, with its line end."""
    file.seek(place.offset)
    return file.read(place.size)


def parse(data: bytes) -> Line:
    """The request in a line that was examined before.

    Raises:
        ValueError: it is none.
    """
    return _line(data)


def line_limit(body_limit: int) -> int:
    """Bytes of a line whose body may have *body_limit* bytes."""
    return body_limit + 8 * CUSTOM_ID_LENGTH


class _Examiner:
    """Remembers what the lines before said."""

    def __init__(self, demands: Demands) -> None:
        self.model: str | None = None
        self._demands = demands
        self._seen: set[bytes] = set()

    def look(self, data: bytes, place: Place) -> None:
        if place.size > line_limit(self._demands.body_limit):
            raise _Wrong("line_too_long", f"the line is longer than {line_limit(self._demands.body_limit)} bytes")
        if not data.strip():
            raise _Wrong("empty_line", "the line is empty")
        line = _decoded(_line, data, "the line")
        self._envelope(line)
        self._request(_decoded(_body, bytes(line.body), "the body"), len(line.body))

    def _envelope(self, line: Line) -> None:
        endpoint = self._demands.endpoint
        if not line.custom_id or len(line.custom_id) > CUSTOM_ID_LENGTH:
            message = f"custom_id must have 1 to {CUSTOM_ID_LENGTH} characters"
            raise _Wrong("invalid_custom_id", message, "custom_id")
        digest = hashlib.blake2b(line.custom_id.encode(), digest_size=16).digest()  # a set of these has a known size
        if digest in self._seen:
            message = f"the custom_id {line.custom_id[:80]!r} stands on a line before"
            raise _Wrong("duplicate_custom_id", message, "custom_id")
        self._seen.add(digest)
        if line.method != "POST":
            raise _Wrong("invalid_method", "method must be 'POST'", "method")
        if line.url != endpoint:
            raise _Wrong("invalid_url", f"url must be {endpoint!r}, the endpoint of the batch", "url")

    def _request(self, body: _Body, size: int) -> None:
        if size > self._demands.body_limit:
            message = f"the body is larger than {self._demands.body_limit} bytes"
            raise _Wrong("body_too_large", message, "body")
        if body.stream:
            raise _Wrong("stream_not_allowed", "a batch cannot stream", "body.stream")
        self.model = self.model or body.model
        if body.model != self.model:
            message = f"all lines must name one model: the first one names {self.model[:80]!r}"
            raise _Wrong("mismatched_model", message, "body.model")
        if self._demands.models and body.model not in self._demands.models:
            message = f"this key cannot use the model {body.model[:80]!r}"
            raise _Wrong("model_not_found", message, "body.model")


def _decoded(decode: Callable[[bytes], _T], data: bytes, what: str) -> _T:
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        raise _Wrong("invalid_request", f"{what} is not a request: {error}") from None
    except msgspec.DecodeError as error:
        raise _Wrong("invalid_json_line", f"{what} is not JSON: {error}") from None
    except RecursionError:
        raise _Wrong("invalid_json_line", f"{what} is nested too deeply") from None
