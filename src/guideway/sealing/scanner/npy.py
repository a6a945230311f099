"""NumPy arrays of numbers; an array of objects is a pickle."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.source import Said, Source

HEADER_LIMIT = 1 << 16
_HEADER = re.compile(
    r"\{'descr': '([^']{1,32})', 'fortran_order': (?:True|False), 'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\),? ?\}\s*"
)
_TYPE = re.compile(r"[<>|=]?([biufcUS]|[mM]8(?:\[\w+\])?)(\d{0,6})")


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with a file that begins as an array does."""
    if not source.starts(b"\x93NUMPY"):
        return None
    major = source.unpack("<BB", 6, "npy")[0]
    begin = 10 if major == 1 else 12
    (length,) = source.unpack("<H" if major == 1 else "<I", 8, "npy")
    if major not in (1, 2, 3) or length > min(HEADER_LIMIT, source.size - begin):
        raise Malformed("npy", f"claims a header of {length} bytes")
    text = source.data[begin : begin + length].decode("utf-8", "replace")
    header = _HEADER.fullmatch(text)
    if "'descr': '|O" in text or "'O'" in text or "object" in text:
        return [source.finding("numpy-object", "is an array of objects, which is a pickle")]
    if not header:
        raise Malformed("npy", "has a header that describes no plain array")
    size = math.prod(int(part) for part in header[2].replace(",", " ").split()) * _width(header[1])
    if begin + length + size != source.size:
        raise Malformed("npy", f"holds {source.size - begin - length} bytes where its shape needs {size}")
    return []


def _width(dtype: str) -> int:
    """Bytes of one element."""
    found = _TYPE.fullmatch(dtype)
    if not found:
        raise Malformed("npy", f"has the type '{shown(dtype)}'")
    if found[1][0] in "mM":
        return 8
    return int(found[2] or 1) * (4 if found[1] == "U" else 1)
