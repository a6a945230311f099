"""ONNX: the whole structure is walked by its schema; external data stays beside the model, and no operator is Python.

Operators of other domains pass: they need a native library, which a file can neither bring nor load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from guideway.sealing.scanner import paths
from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, fields
from guideway.sealing.scanner.source import Bytes, Claim, Said, Source, Strings

DEPTH = 64
"""Graphs within graphs and what lies in them."""
SEARCHED = 16 << 20
"""Bytes of texts that are searched for secrets."""
PYTHON_OPS = frozenset({b"PyOp", b"PyCustomOp", b"PyFunc", b"EagerPyFunc", b"PythonOp", b"PythonOpGrad"})
EXTERNAL = 1

WIRES: dict[str, tuple[int, ...]] = {
    "int": (VARINT,), "ints": (VARINT, BYTES), "float": (FIXED32,), "floats": (FIXED32, BYTES),
    "doubles": (FIXED64, BYTES),
}  # fmt: skip
"""Wire types of each kind of field; all other kinds are bytes."""
SCHEMA: dict[str, dict[int, str]] = {
    "model": {1: "int", 2: "text", 3: "text", 4: "text", 5: "int", 6: "text", 7: "graph", 8: "leaf", 14: "entry",
              20: "training", 25: "function", 26: "leaf"},
    "graph": {1: "node", 2: "name", 5: "tensor", 10: "text", 11: "leaf", 12: "leaf", 13: "leaf", 14: "leaf",
              15: "sparse", 16: "entry"},
    "node": {1: "name", 2: "name", 3: "name", 4: "name", 5: "attribute", 6: "text", 7: "name", 8: "name", 9: "entry",
             10: "leaf"},
    "attribute": {1: "name", 2: "float", 3: "int", 4: "text", 5: "tensor", 6: "graph", 7: "floats", 8: "ints",
                  9: "text", 10: "tensor", 11: "graph", 13: "text", 14: "leaf", 15: "leaf", 20: "int", 21: "name",
                  22: "sparse", 23: "sparse"},
    "tensor": {1: "ints", 2: "int", 3: "leaf", 4: "floats", 5: "ints", 6: "text", 7: "ints", 8: "name", 9: "bytes",
               10: "doubles", 11: "ints", 12: "text", 13: "external", 14: "int", 16: "entry"},
    "sparse": {1: "tensor", 2: "tensor", 3: "ints"},
    "function": {1: "name", 4: "name", 5: "name", 6: "name", 7: "node", 8: "text", 9: "leaf", 10: "name",
                 11: "attribute", 12: "leaf", 13: "name", 14: "entry"},
    "training": {1: "graph", 2: "graph", 3: "entry", 4: "entry"},
    "entry": {1: "text", 2: "text"},
    "external": {1: "name", 2: "name"},
}  # fmt: skip
"""Kind of each field of each message; a kind that is named here is a message itself, a leaf is not looked into."""


class _Message(NamedTuple):
    kind: str
    begin: int
    end: int
    depth: int


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with a file whose top level is an ONNX model: a version and one graph."""
    if not source.size or source.data[0] & 7 not in (VARINT, BYTES):
        return None
    try:
        top = list(_read(source.data, _Message("model", 0, source.size, 0)))
    except Malformed:
        return None
    numbers = [field.number for field in top]
    if numbers.count(7) != 1 or 1 not in numbers:
        return None
    return _judge(source)


def _judge(source: Source) -> Iterator[Said]:
    texts: list[bytes] = []
    searched = 0
    todo = [_Message("model", 0, source.size, 0)]
    while todo:
        message = todo.pop()
        if message.depth > DEPTH:
            raise Malformed("onnx", f"nests more than {DEPTH} messages")
        found = list(_read(source.data, message))
        kinds = SCHEMA[message.kind]
        for field in found:
            kind = kinds[field.number]
            if kind in SCHEMA:
                todo.append(_Message(kind, field.begin, field.end, message.depth + 1))
            elif kind == "text" and searched < SEARCHED:
                texts.append(source.data[field.begin : min(field.end, field.begin + SEARCHED)])
                searched += len(texts[-1])
        if message.kind == "node":
            yield from _node(source, found)
        elif message.kind == "tensor":
            yield from _tensor(source, found)
    yield Strings(b"\n".join(texts))


def _read(data: Bytes, message: _Message) -> Iterator[Field]:
    """The fields of *message*, each known and of its wire type."""
    kinds = SCHEMA[message.kind]
    for field in fields(data, message.begin, message.end):
        kind = kinds.get(field.number)
        if kind is None or field.wire not in WIRES.get(kind, (BYTES,)):
            raise Malformed("onnx", f"has a field that no {message.kind} has, at byte {field.begin}")
        yield field


def _node(source: Source, found: list[Field]) -> Iterator[Said]:
    for field in found:
        if field.number == 4 and source.data[field.begin : field.end] in PYTHON_OPS:
            name = shown(source.data[field.begin : field.end])
            yield source.finding("onnx-python-op", f"has an operator that calls Python ({name})")


def _tensor(source: Source, found: list[Field]) -> Iterator[Said]:
    """Claims on, or findings about, the external data of one tensor."""
    entries = [_entry(source.data, field) for field in found if field.number == 13]
    outside = any(field.number == 14 and field.value == EXTERNAL for field in found)
    if not entries and not outside:
        return
    said = dict(entries)
    if len(said) != len(entries) or b"location" not in said:
        yield source.finding("onnx-external", "has a tensor whose external data has no place, or two")
        return
    yield from _external(source, said)


def _entry(data: Bytes, field: Field) -> tuple[bytes, bytes]:
    parts = {part.number: data[part.begin : part.end] for part in fields(data, field.begin, field.end)}
    return parts.get(1, b""), parts.get(2, b"")


def _external(source: Source, said: dict[bytes, bytes]) -> Iterator[Said]:
    try:
        location = said[b"location"].decode("utf-8")
        offset, length = (_count(said.get(key, b"0")) for key in (b"offset", b"length"))
    except ValueError:
        yield source.finding("onnx-external", "has external data with a broken place")
        return
    fault = paths.fault(location.removeprefix("./"))
    if fault:
        yield source.finding("onnx-external", f"takes data from '{shown(location)}', which {fault}")
        return
    path = paths.beside(source.path, location.removeprefix("./"))
    size = source.sizes.get(path)
    if size is None:
        yield source.finding("onnx-external", f"takes data from '{shown(location)}', which is not there")
    elif offset + length > size:
        yield source.finding("onnx-external", f"takes data from beyond the end of '{shown(location)}'")
    else:
        yield Claim(path, "onnx-data")


def _count(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise ValueError("no count")
    return int(text)
