"""Makes files to judge, good and bad, by hand: nothing here is pickled, loaded or run."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

from guideway.sealing.scanner import Scan, scan_folder


def judged(folder: Path, **files: bytes | str) -> Scan:
    """The scan of a new folder with these files; ``__`` in a name stands for a dot."""
    return judged_files(folder, {name.replace("__", "."): data for name, data in files.items()})


def judged_files(folder: Path, files: dict[str, bytes | str]) -> Scan:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return scan_folder(folder)


def rules(scan: Scan) -> list[str]:
    return [one.rule for one in scan.findings]


# Pickles, put together instruction by instruction


class Global(NamedTuple):
    module: str
    name: str


class Call(NamedTuple):
    """A call with positional arguments, each a value, a global or a call."""

    what: Any
    args: tuple[Any, ...] = ()


class Built(NamedTuple):
    """An object that is given a state."""

    what: Any
    state: Any


def assembled(value: Any, protocol: int) -> bytes:
    """The pickle of *value* in *protocol*, which an unpickler would turn into calls."""
    head = b"\x80" + bytes([protocol]) if protocol >= 2 else b""
    body = _code(value, protocol) + b"."
    frame = b"\x95" + struct.pack("<Q", len(body)) if protocol >= 4 else b""
    return head + frame + body


def _code(value: Any, protocol: int) -> bytes:
    if isinstance(value, Global):
        return _global(value, protocol)
    if isinstance(value, Call):
        return _code(value.what, protocol) + _tuple(value.args, protocol) + b"R"
    if isinstance(value, Built):
        return _code(value.what, protocol) + _code(value.state, protocol) + b"b"
    if isinstance(value, tuple):
        return _tuple(value, protocol)
    if isinstance(value, dict):
        pairs = b"".join(_code(key, protocol) + _code(item, protocol) for key, item in value.items())
        return b"(" + pairs + b"d"
    if isinstance(value, list):
        return b"(" + b"".join(_code(item, protocol) for item in value) + b"l"
    if value is None:
        return b"N"
    if isinstance(value, int):
        return b"I%d\n" % value if protocol == 0 else b"J" + struct.pack("<i", value)
    return _string(value, protocol)


def _global(value: Global, protocol: int) -> bytes:
    if protocol < 4:
        return b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n"
    return _string(value.module, protocol) + _string(value.name, protocol) + b"\x93"


def _string(value: str, protocol: int) -> bytes:
    data = value.encode()
    if protocol == 0:
        return b"V" + data.replace(b"\n", b"\\u000a") + b"\n"
    if protocol >= 4 and len(data) < 256:
        return b"\x8c" + bytes([len(data)]) + data
    return b"X" + struct.pack("<I", len(data)) + data


def _tuple(items: tuple[Any, ...], protocol: int) -> bytes:
    codes = [_code(item, protocol) for item in items]
    if protocol >= 2 and len(items) in (1, 2, 3):
        return b"".join(codes) + bytes([0x84 + len(items)])
    return b"(" + b"".join(codes) + b"t"


# Weights


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with this header, given as a value or as text."""
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin: int, end: int, *, dtype: str = "F32", shape: list[int] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def good_safetensors() -> bytes:
    return safetensors(
        {"__metadata__": {"format": "pt"}, "a": tensor(0, 16, shape=[2, 2]), "b": tensor(16, 24)}, bytes(24)
    )


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def gguf(pairs: list[tuple[str, int, bytes]], tensors: list[tuple[str, list[int], int, int]], data: bytes) -> bytes:
    """A GGUF file: pairs of name, type and encoded value; tensors as name, shape, type and offset."""
    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for name, kind, value in pairs:
        out += text(name) + struct.pack("<I", kind) + value
    for name, shape, kind, offset in tensors:
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    return out + bytes(-len(out) % 32) + data


def good_gguf(**more: str) -> bytes:
    words = [text(word) for word in ("<s>", "</s>", "hello")]
    pairs = [
        ("general.architecture", 8, text("llama")),
        ("llama.block_count", 4, struct.pack("<I", 1)),
        ("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, len(words)) + b"".join(words)),
        ("tokenizer.ggml.scores", 9, struct.pack("<IQ3f", 6, 3, 0.0, 0.5, 1.0)),
        *((name.replace("__", "."), 8, text(value)) for name, value in more.items()),
    ]
    tensors = [("a.weight", [4, 4], 0, 0), ("b.weight", [32, 2], 8, 64)]
    return gguf(pairs, tensors, bytes(64 + 68))


# Protocol buffers


def number(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(place: int, value: int | bytes | str) -> bytes:
    """One field: a number, or bytes with their length."""
    if isinstance(value, int):
        return number(place << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(place << 3 | 2) + number(len(data)) + data


def onnx_tensor(name: str, **external: str) -> bytes:
    entries = b"".join(field(13, field(1, key) + field(2, value)) for key, value in external.items())
    where = field(14, 1) if external else field(9, bytes(8))
    return field(1, 2) + field(2, 1) + field(8, name) + entries + where


def onnx_model(*tensors: bytes, op: str = "Add", domain: str = "", **more: bytes) -> bytes:
    """A model with one node; tensors are its initializers; ``graph``, ``node`` and ``model`` are appended there."""
    node = field(1, "x") + field(2, "y") + field(4, op) + field(7, domain) + more.get("node", b"")
    graph = field(1, node) + field(2, "g") + b"".join(field(5, one) for one in tensors) + more.get("graph", b"")
    return field(1, 9) + field(2, "rig") + field(7, graph) + field(8, field(2, 20)) + more.get("model", b"")


def sentencepiece_model() -> bytes:
    pieces = b"".join(
        field(1, field(1, word) + b"\x15" + struct.pack("<f", -1.0) + field(3, 1)) for word in ("<unk>", "▁the", "s")
    )
    return pieces + field(2, field(1, "corpus.txt") + field(4, 3)) + field(3, field(1, "nmt_nfkc"))


# Archives


def zipped(files: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def with_bad_checksums(archive: bytes) -> bytes:
    """The same zip with the checksum of each member spoiled, in both places where it stands."""
    data = bytearray(archive)
    for magic, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = data.find(magic)
        while at >= 0:
            data[at + offset] ^= 0xFF
            at = data.find(magic, at + 4)
    return bytes(data)
