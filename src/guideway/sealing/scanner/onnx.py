"""ONNX: the whole structure is walked by its schema; external data stays beside the model, and no operator is Python.

Operators of other domains pass: they need a native library, which a file can neither bring nor load.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from guideway.sealing.scanner import paths
from guideway.sealing.scanner.findings import Malformed, shown
from guideway.sealing.scanner.protobuf import BYTES, FIELDS, FIXED32, FIXED64, VARINT, Field, fields
from guideway.sealing.scanner.source import Bytes, Claim, Said, Source, Strings

DEPTH = 64
"""Graphs within graphs and what lies in them."""
SEARCHED = 16 << 20
"""Bytes of texts that are searched for secrets."""
PYTHON_OPS = frozenset({b"PyOp", b"PyCustomOp", b"PyFunc", b"EagerPyFunc", b"PythonOp", b"PythonOpGrad"})
OP_TYPE, EXTERNAL_DATA, DATA_LOCATION = 4, 13, 14
"""Fields of a node, and of a tensor."""
EXTERNAL = 1
ENTRIES, LONGEST = 64, 4096
"""Entries about the external data of one tensor, and bytes of each."""

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
    """A message that is being read: its fields, one at a time, and what is known of its external data."""

    kind: str
    fields: Iterator[Field]
    external: list[Field]


def look(source: Source) -> Iterable[Said] | None:
    """What is wrong with a file whose top level is an ONNX model: a version and one graph."""
    if not source.size or source.data[0] & 7 not in (VARINT, BYTES):
        return None
    graphs = versions = 0
    try:
        for field in _read(source.data, "model", 0, source.size):
            graphs += field.number == 7
            versions += field.number == 1
    except Malformed:
        return None
    return _judge(source) if graphs == 1 and versions else None


def _judge(source: Source) -> Iterator[Said]:
    """Walk the whole model; of each message only what is being read is kept."""
    texts = _Texts()
    open_ = [_Message("model", _read(source.data, "model", 0, source.size), [])]
    count = 0
    while open_:
        message = open_[-1]
        field = next(message.fields, None)
        if field is None:
            yield from _external(source, open_.pop().external)
            continue
        count += 1
        if count > FIELDS or len(open_) > DEPTH:
            raise Malformed("onnx", f"holds more than {FIELDS} fields, or more than {DEPTH} messages within another")
        kind = SCHEMA[message.kind][field.number]
        if message.kind == "tensor" and field.number in (EXTERNAL_DATA, DATA_LOCATION):
            message.external.append(field)
            if len(message.external) > ENTRIES:
                raise Malformed("onnx", "has a tensor with too many places")
        if kind in SCHEMA:
            open_.append(_Message(kind, _read(source.data, kind, field.begin, field.end), []))
        elif kind == "text":
            texts.add(source.data, field)
        elif message.kind == "node" and field.number == OP_TYPE:
            yield from _operator(source, field)
    yield Strings(b"\n".join(texts.found))


class _Texts:
    """The texts of a model, up to a bound."""

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self._left = SEARCHED

    def add(self, data: Bytes, field: Field) -> None:
        size = min(field.end - field.begin, self._left)
        self._left -= size
        if size:
            self.found.append(data[field.begin : field.begin + size])


def _read(data: Bytes, message: str, begin: int, end: int) -> Iterator[Field]:
    """The fields of a *message*, each known and of its wire type."""
    kinds = SCHEMA[message]
    for field in fields(data, begin, end):
        kind = kinds.get(field.number)
        if kind is None or field.wire not in WIRES.get(kind, (BYTES,)):
            raise Malformed("onnx", f"has a field that no {message} has, at byte {field.begin}")
        yield field


def _operator(source: Source, field: Field) -> Iterator[Said]:
    name = source.data[field.begin : min(field.end, field.begin + 256)]
    if name in PYTHON_OPS:
        yield source.finding("onnx-python-op", f"has an operator that calls Python ({shown(name)})")


def _external(source: Source, found: list[Field]) -> Iterator[Said]:
    """Claims on, or findings about, the external data of one tensor."""
    entries = [_entry(source.data, field) for field in found if field.number == EXTERNAL_DATA]
    outside = any(field.number == DATA_LOCATION and field.value == EXTERNAL for field in found)
    if not entries and not outside:
        return
    said = dict(entries)
    if len(said) != len(entries) or b"location" not in said:
        yield source.finding("onnx-external", "has a tensor whose external data has no place, or two")
        return
    yield from _placed(source, said)


def _entry(data: Bytes, field: Field) -> tuple[bytes, bytes]:
    parts = {
        part.number: data[part.begin : min(part.end, part.begin + LONGEST)]
        for part in fields(data, field.begin, field.end)
    }
    return parts.get(1, b""), parts.get(2, b"")


def _placed(source: Source, said: dict[bytes, bytes]) -> Iterator[Said]:
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
