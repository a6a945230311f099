"""GGUF, versions 2 and 3: every size that the file declares is held against the bytes that are there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from guideway.sealing.scanner import templates
from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.source import Said, Source, Strings

PAIRS, TENSORS, DIMENSIONS, NESTING, KEY = 1 << 16, 1 << 20, 4, 3, 1 << 10
"""Limits: metadata pairs, tensors, dimensions, arrays within arrays, bytes of a key."""
SEARCHED = 32 << 20
"""Bytes of strings that are searched for secrets."""
STRINGS, KEPT, LONGEST = 1 << 21, 1 << 10, 1 << 20
"""Strings in all arrays together, entries of an array that are looked at, and bytes of a string that are."""
STRING, ARRAY = 8, 9
NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
BLOCKS: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
"""Elements and bytes of one block of each tensor type."""


class Tensor(NamedTuple):
    """Where one tensor lies, in bytes from the beginning of the data."""

    begin: int
    end: int
    name: bytes


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with a file that begins with GGUF."""
    return _judge(source) if source.starts(b"GGUF") else None


def _judge(source: Source) -> Iterator[Said]:
    (version,) = source.unpack("<I", 4, "gguf")
    if version not in (2, 3):
        raise Malformed("gguf", f"has version {version}; 2 and 3 are read")
    tensors, pairs = source.unpack("<QQ", 8, "gguf")
    if tensors > TENSORS or pairs > PAIRS:
        raise Malformed("gguf", f"claims {tensors} tensors and {pairs} metadata entries")
    reader = _Reader(source, 24)
    found = [(reader.string(KEY), reader.value(source.unpack("<I", reader.skip(4), "gguf")[0])) for _ in range(pairs)]
    if len({key for key, _ in found}) != pairs:
        raise Malformed("gguf", "names a metadata entry twice")
    for key, value in found:
        yield from _template(source, key, value)
    yield Strings(b"\n".join(reader.strings))
    alignment = dict(found).get(b"general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 8 or alignment > 1 << 16 or alignment % 8:
        raise Malformed("gguf", f"asks for an alignment of {shown(str(alignment))}")
    places = sorted(reader.tensor(alignment) for _ in range(tensors))
    data = -(-reader.at // alignment) * alignment
    _check_cover(places, source.size - data, alignment)


class _Reader:
    """Reads on from *at*; every step is held against the size of the file."""

    def __init__(self, source: Source, at: int) -> None:
        self.source, self.at = source, at
        self.strings: list[bytes] = []
        self._searched = self._strings = 0

    def skip(self, size: int) -> int:
        """Step over *size* bytes; where they began."""
        begin = self.at
        if size > self.source.size - begin:
            raise Malformed("gguf", f"declares {size} bytes at byte {begin} of a file of {self.source.size}")
        self.at = begin + size
        return begin

    def string(self, limit: int = 1 << 62) -> bytes:
        """A string with its length before it."""
        (size,) = self.source.unpack("<Q", self.skip(8), "gguf")
        if size > limit:
            raise Malformed("gguf", f"has a name of {size} bytes")
        begin = self.skip(size)
        text = self.source.data[begin : begin + min(size, LONGEST)]
        if self._searched < SEARCHED:
            self.strings.append(text)
            self._searched += len(text) + 1
        return text

    def value(self, kind: int, depth: int = 0) -> Any:
        """A value of *kind*: a number, a string, or for an array the list of its strings."""
        if kind == STRING:
            return self.string()
        if kind in WIDTHS:
            return self.source.unpack(NUMBERS[kind], self.skip(WIDTHS[kind]), "gguf")[0]
        if kind != ARRAY or depth >= NESTING:
            raise Malformed("gguf", f"has a value of the unknown type {kind}, or arrays too deep")
        inner, count = self.source.unpack("<IQ", self.skip(12), "gguf")
        if inner in WIDTHS:
            self.skip(count * WIDTHS[inner])
            return []
        self._strings += count
        if count * 8 > self.source.size - self.at or self._strings > STRINGS:
            raise Malformed("gguf", f"declares an array of {count} entries in a file of {self.source.size} bytes")
        kept = [self.value(inner, depth + 1) for _ in range(min(count, KEPT))]
        for _ in range(count - len(kept)):
            self.value(inner, depth + 1)
        return kept

    def tensor(self, alignment: int) -> Tensor:
        """The place of the next tensor, when its type and shape make sense."""
        name = self.string(KEY)
        (count,) = self.source.unpack("<I", self.skip(4), "gguf")
        if not 0 < count <= DIMENSIONS:
            raise Malformed("gguf", f"gives tensor '{shown(name)}' {count} dimensions")
        shape = self.source.unpack(f"<{count}Q", self.skip(8 * count), "gguf")
        kind, begin = self.source.unpack("<IQ", self.skip(12), "gguf")
        if kind not in BLOCKS:
            raise Malformed("gguf", f"gives tensor '{shown(name)}' the unknown type {kind}")
        elements, size = BLOCKS[kind]
        if shape[0] % elements or begin % alignment:
            raise Malformed("gguf", f"puts tensor '{shown(name)}' across a block or an alignment")
        return Tensor(begin, begin + math.prod(shape) // elements * size, name)


def _check_cover(places: list[Tensor], size: int, alignment: int) -> None:
    """Tensors lie one after the other, each padded to the alignment, up to the end."""
    at = 0
    for tensor in places:
        if tensor.end > size:
            raise Malformed("gguf", f"declares tensor '{shown(tensor.name)}' beyond the end of the file")
        if tensor.begin != at:
            word = "overlap another" if tensor.begin < at else "leave a hole"
            raise Malformed("gguf", f"lets tensor '{shown(tensor.name)}' {word}")
        at = -(-tensor.end // alignment) * alignment
    if size > at:
        raise Malformed("gguf", f"holds {size - at} bytes that belong to no tensor")


def _template(source: Source, key: bytes, value: Any) -> Iterator[Said]:
    """Findings about chat templates in the metadata."""
    if b"template" not in key:
        return
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, bytes):
            for rule, what in templates.faults(text.decode("utf-8", "replace")):
                yield source.finding(rule, f"{what}, in {shown(key)}")
