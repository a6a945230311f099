"""Records in a file that is only appended to, so that a torn end is told from a whole record.

A frame is: the length of the payload and its CRC-32, each four bytes, little-endian, then the payload.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

LIMIT = 1 << 20
"""Bytes of a payload; a length above it is no length."""

_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size


def frame(payload: bytes) -> bytes:
    """*payload* as one frame.

    Raises:
        ValueError: it is empty, or larger than LIMIT.
    """
    if not 0 < len(payload) <= LIMIT:
        raise ValueError(f"a frame holds 1 to {LIMIT} bytes, not {len(payload)}")
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def frames(data: bytes, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """The whole frames in *data* from *offset* on: each payload, and where the next one begins.

    Ends before the first frame that is not whole; a run of zeros is none.
    """
    while offset + HEAD_BYTES <= len(data):
        length, checksum = _HEAD.unpack_from(data, offset)
        end = offset + HEAD_BYTES + length
        if not 0 < length <= LIMIT or end > len(data):
            return
        payload = data[offset + HEAD_BYTES : end]
        if zlib.crc32(payload) != checksum:
            return
        yield payload, end
        offset = end
