"""safetensors, by its published format: a length, a JSON header, and tensors that cover the rest exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.source import Said, Source, Strings

HEADER_LIMIT = 16 << 20
"""Bytes of a header; those of published models stay below 1 MiB, and the format itself ends at 100 MB."""
BITS: dict[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits per element of each type."""


class Tensor(NamedTuple):
    """Where the bytes of one tensor lie, counted from the end of the header."""

    begin: int
    end: int
    name: str


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with a file that has the shape of safetensors: a length, then a JSON object."""
    if source.size < 9 or source.data[8:9] != b"{":
        return None
    length = int.from_bytes(source.data[:8], "little")
    if length < 1 << 40 or source.suffix == ".safetensors":
        return _judge(source, length)
    return None


def _judge(source: Source, length: int) -> Iterable[Said]:
    if length > min(HEADER_LIMIT, source.size - 8):
        raise Malformed("safetensors", f"claims a header of {length} bytes in a file of {source.size}")
    text = source.data[8 : 8 + length]
    header = _header(text)
    _check_metadata(header.pop("__metadata__", {}))
    tensors = sorted(_tensor(name, entry) for name, entry in header.items())
    _check_cover(tensors, source.size - 8 - length)
    return [Strings(text)]


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except Malformed:
        raise
    except (ValueError, RecursionError):
        raise Malformed("safetensors", "has a header that is no JSON") from None
    if not isinstance(header, dict):
        raise Malformed("safetensors", "has a header that is no JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("safetensors", "has a header that names something twice")
    return found


def _no_constant(text: str) -> Any:
    raise Malformed("safetensors", f"has a header with {text} in it")


def _check_metadata(found: Any) -> None:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Malformed("safetensors", "has metadata that is not plain text")


def _tensor(name: str, entry: Any) -> Tensor:
    """The place of one tensor, when type, shape and range agree."""
    called = f"tensor '{shown(name)}'"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Malformed("safetensors", f"describes {called} by other keys than dtype, shape and data_offsets")
    shape, offsets, dtype = entry["shape"], entry["data_offsets"], entry["dtype"]
    if not (isinstance(dtype, str) and dtype in BITS):
        raise Malformed("safetensors", f"gives {called} the unknown type {shown(str(dtype))}")
    if not _counts(shape) or not _counts(offsets) or len(offsets) != 2:
        raise Malformed("safetensors", f"gives {called} a shape or offsets that are no counts")
    begin, end = offsets
    bits = math.prod(shape) * BITS[dtype]
    if begin > end or bits % 8 or end - begin != bits // 8:
        raise Malformed("safetensors", f"gives {called} {end - begin} bytes where its shape needs {bits / 8:g}")
    return Tensor(begin, end, name)


def _counts(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) <= 64 and all(type(one) is int and 0 <= one < 1 << 48 for one in value)
    )


def _check_cover(tensors: list[Tensor], size: int) -> None:
    """Tensors lie one after the other, without overlap and hole, up to the last byte."""
    at = 0
    for tensor in tensors:
        if tensor.end > size:
            raise Malformed("safetensors", f"puts tensor '{shown(tensor.name)}' beyond the end of the file")
        if tensor.begin < at:
            raise Malformed("safetensors", f"lets tensor '{shown(tensor.name)}' overlap another")
        if tensor.begin > at:
            raise Malformed("safetensors", f"leaves a hole before tensor '{shown(tensor.name)}'")
        at = tensor.end
    if at != size:
        raise Malformed("safetensors", f"holds {size - at} bytes that belong to no tensor")
