"""The header of a safetensors file, read without the library and trusted in nothing.

Source: the format as its authors describe it, https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from guideway.core.errors import Corrupt

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format."""
MOST_DIMENSIONS = 64
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I8": 8, "U8": 8,
    "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one element. A type that is not listed is carried as it is."""


class Tensor(msgspec.Struct, frozen=True):
    """One tensor: its type, its shape, and where its bytes lie in ``file``, as offset from the start and size."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    size: int


class Header(msgspec.Struct, frozen=True):
    """What a file says of itself: tensors in the order of their bytes, and free text by key."""

    tensors: tuple[Tensor, ...]
    metadata: dict[str, str]
    raw: bytes
    """The bytes before the first tensor, length included."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(path: Path) -> Header:
    """Read and check the header of *path*; no tensor is read.

    Raises:
        Corrupt: names the file and what is wrong: size, JSON, a name twice, offsets that overlap or leave the file.
    """
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if whole < 8 or length > min(LARGEST_HEADER, whole - 8):
                raise ValueError(f"a header of {length} bytes in a file of {whole}")
            text = file.read(length)
        if text[:1] != b"{":
            raise ValueError("the header is no JSON object")
        fields = json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_refuse)
        metadata = msgspec.convert(fields.pop("__metadata__", {}), dict[str, str])
        entries = msgspec.convert(fields, dict[str, _Entry])
        "".join((*entries, *metadata, *metadata.values())).encode()  # an escaped half of a character is no text
        tensors = _placed(path, entries, 8 + length, whole)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"not a safetensors file: {str(error) or 'nested too deeply'}", where=str(path)) from None
    return Header(tensors, metadata, length.to_bytes(8, "little") + text)


def header_bytes(tensors: Iterable[Tensor], metadata: Mapping[str, str]) -> bytes:
    """The header, length included, of a file that holds *tensors* in this order. Deterministic."""
    fields: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    place = 0
    for one in tensors:
        offsets = [place, place + one.size]
        fields[one.name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": offsets}
        place += one.size
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors start at a multiple of eight
    return len(text).to_bytes(8, "little") + text


def _placed(path: Path, entries: Mapping[str, _Entry], start: int, whole: int) -> tuple[Tensor, ...]:
    """The tensors in the order of their bytes, which must fill the rest of the file exactly.

    Raises:
        ValueError: they do not.
    """
    tensors, place = [], 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        begin, end = entry.data_offsets
        if begin != place or end < begin:
            raise ValueError(f"tensor '{name}' starts at {begin}, and the one before it ends at {place}")
        if len(entry.shape) > MOST_DIMENSIONS or any(length < 0 for length in entry.shape):
            raise ValueError(f"tensor '{name}' has an impossible shape")
        bits = BITS.get(entry.dtype)
        if bits is not None and (end - begin) * 8 != bits * math.prod(entry.shape):
            raise ValueError(f"tensor '{name}' has {end - begin} bytes, and its shape asks for another size")
        tensors.append(Tensor(name, entry.dtype, entry.shape, path, start + begin, end - begin))
        place = end
    if start + place != whole:
        raise ValueError(f"the tensors end at {start + place}, and the file at {whole}")
    return tuple(tensors)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"'{name}' is there twice")
        found[name] = value
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"'{constant}' is not JSON")
