"""The wire format of protocol buffers: enough to walk a message without its library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from guideway.sealing.scanner.findings import Malformed
from guideway.sealing.scanner.source import Bytes

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
FIELDS = 4_000_000
"""Fields of one message; a stranger chooses how many there are, and each costs time."""


class Field(NamedTuple):
    """One field: its number and wire type, where its content lies, and the number that a varint holds."""

    number: int
    wire: int
    begin: int
    end: int
    value: int


def fields(data: Bytes, begin: int, end: int) -> Iterator[Field]:
    """The fields of the message in ``data[begin:end]``, one level deep and one at a time.

    Raises:
        Malformed: this is no message, or a longer one than any model has.
    """
    count = 0
    while begin < end:
        count += 1
        if count > FIELDS:
            raise Malformed("unknown-format", f"has a message of more than {FIELDS} fields")
        key, at = varint(data, begin, end)
        number, wire = key >> 3, key & 7
        value, stop = 0, at
        if wire == VARINT:
            value, stop = varint(data, at, end)
        elif wire == BYTES:
            size, at = varint(data, at, end)
            stop = at + size
        elif wire in (FIXED32, FIXED64):
            stop = at + (4 if wire == FIXED32 else 8)
        else:
            raise Malformed("unknown-format", f"has a field of wire type {wire} at byte {begin}")
        if not number or stop > end:
            raise Malformed("unknown-format", f"has a field that leaves its message at byte {begin}")
        yield Field(number, wire, at, stop, value)
        begin = stop


def varint(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number at *at*, and where it ends.

    Raises:
        Malformed: it is cut off or too long.
    """
    value = shift = 0
    for place in range(at, min(end, at + LONGEST_VARINT)):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
        shift += 7
    raise Malformed("unknown-format", f"has a number that does not end at byte {at}")
