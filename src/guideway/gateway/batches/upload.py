"""A form with a file in it, read from the network to the disk without ever being held in memory."""

from __future__ import annotations

import asyncio
from typing import IO, TYPE_CHECKING

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from guideway.gateway import errors
from guideway.gateway.batches.service import Refused, bad

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

BOUNDARY_LENGTH = 70
HEADER_SIZE = 4 * 1024
HEADERS = 16
FIELD_SIZE = 1024
FIELDS = 16
NAME_LENGTH = 255
SLACK = 64 * 1024
WRITE_BYTES = 256 * 1024


class Form(msgspec.Struct, frozen=True):
    """What came beside the bytes of the file."""

    filename: str
    fields: dict[str, str]


async def receive(request: Request, sink: IO[bytes], limit: int) -> Form:
    """Read the form of *request*, and write its ``file`` to *sink*: at most *limit* bytes.

    Raises:
        Refused: it is no such form, or too large.
        OSError: *sink* cannot be written.
    """
    reader = _Reader(_boundary(request), sink, limit)
    if int(request.headers.get("content-length", "0")) > limit + SLACK:
        raise Refused(errors.too_large(limit))
    waiting, size, total = [], 0, 0
    async for piece in request.stream():
        waiting.append(piece)
        size, total = size + len(piece), total + len(piece)
        if total > limit + SLACK:
            raise Refused(errors.too_large(limit))
        if size >= WRITE_BYTES:
            await asyncio.to_thread(reader.feed, b"".join(waiting))
            waiting, size = [], 0
    await asyncio.to_thread(reader.feed, b"".join(waiting))
    return reader.form()


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise bad("send the file as multipart/form-data")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(errors.ENCODED_BODY)
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= BOUNDARY_LENGTH:
        raise bad(f"the form needs a boundary of 1 to {BOUNDARY_LENGTH} characters")
    return boundary


class _Reader:
    """Feeds the parser, and is what it calls."""

    def __init__(self, boundary: bytes, sink: IO[bytes], limit: int) -> None:
        calls: MultipartCallbacks = {
            "on_part_begin": self._part,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(boundary, calls, max_header_count=HEADERS, max_header_size=HEADER_SIZE)
        self._sink, self._limit = sink, limit
        self._fields: dict[str, bytes] = {}
        self._filename: str | None = None
        self._size = 0
        self._whole = False
        self._parts = 0

    def feed(self, data: bytes) -> None:
        """Read *data*; what of it belongs to the file is written."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise bad("the form is not sound multipart/form-data") from None

    def form(self) -> Form:
        """The form, when all has come."""
        if not self._whole:
            raise bad("the form ends in the middle")
        if self._filename is None:
            raise bad("the form has no file", "file")
        return Form(self._filename, {name: _text(value, name) for name, value in self._fields.items()})

    # What the parser calls.

    def _part(self) -> None:
        self._parts += 1
        if self._parts > FIELDS:
            raise bad(f"the form has more than {FIELDS} fields")
        self._name: str | None = None
        self._is_file = False
        self._disposition = self._header_line = self._value = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_line += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        if self._header_line.lower() == b"content-disposition":
            self._disposition = self._value
        self._header_line = self._value = b""

    def _headers_end(self) -> None:
        kind, options = parse_options_header(self._disposition)
        if kind != b"form-data" or not options.get(b"name"):
            raise bad("each part of the form needs a Content-Disposition with a name")
        self._name = _text(options[b"name"], "name")
        self._is_file = self._name == "file"
        if self._name in self._fields or (self._is_file and self._filename is not None):
            raise bad(f"the field {self._name!r} stands there twice", self._name)
        if self._is_file:
            self._filename = _file_name(options.get(b"filename"))
        else:
            self._fields[self._name] = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._size += end - start
            if self._size > self._limit:
                raise Refused(errors.too_large(self._limit))
            self._sink.write(data[start:end])
            return
        assert self._name is not None
        self._fields[self._name] += data[start:end]
        if len(self._fields[self._name]) > FIELD_SIZE:
            raise bad(f"the field {self._name!r} is too long", self._name)

    def _end(self) -> None:
        self._whole = True


def _text(data: bytes, param: str) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise bad("the form is not UTF-8 text", param) from None
    if not text.isprintable():
        raise bad("the form holds control characters", param)
    return text


def _file_name(data: bytes | None) -> str:
    """The name that the client has for its file: it is only ever told again, never used."""
    if not data:
        raise bad("the field 'file' must be a file with a name", "file")
    name = _text(data, "file")
    if len(name) > NAME_LENGTH:
        raise bad(f"the name of the file is longer than {NAME_LENGTH} characters", "file")
    return name
