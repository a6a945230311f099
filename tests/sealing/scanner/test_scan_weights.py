"""Weights: safetensors, GGUF, ONNX, arrays and tokenizers pass when they are whole, and only then."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanner_rig import (
    gguf,
    good_gguf,
    good_safetensors,
    judged,
    judged_files,
    onnx_model,
    onnx_tensor,
    rules,
    safetensors,
    sentencepiece_model,
    tensor,
    text,
    zipped,
)

from guideway.sealing.scanner import safetensors as format_of_safetensors
from guideway.sealing.scanner.findings import Malformed
from guideway.sealing.scanner.source import Source

NPY = b"\x93NUMPY\x01\x00"


def npy(header, data=b""):
    return NPY + struct.pack("<H", len(header)) + header.encode() + data


GOOD = {
    "model.safetensors": good_safetensors(),
    "empty.safetensors": safetensors({}),
    "half.safetensors": safetensors({"a": tensor(0, 3, dtype="F4", shape=[6])}, bytes(3)),
    "scalar.safetensors": safetensors({"a": tensor(0, 4, shape=[])}, bytes(4)),
    "none.safetensors": safetensors({"a": tensor(0, 0, shape=[0, 7]), "b": tensor(0, 4)}, bytes(4)),
    "spaces.safetensors": safetensors(json.dumps({"a": tensor(0, 4)}) + "   ", bytes(4)),
    "model.gguf": good_gguf(),
    "vocabulary.gguf": gguf([("general.architecture", 8, text("llama"))], [], b""),
    "model.onnx": onnx_model(onnx_tensor("w")),
    "tokenizer.model": sentencepiece_model(),
    "x.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", bytes(24)),
    "z.npy": npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2,), }\n", bytes(16)),
    "y.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }\n", bytes(5)),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("called", ["{}", "weights.bin", "no-suffix"])
def test_whole_weights_pass_under_any_name(name, called, tmp_path):
    scan = judged_files(tmp_path, {called.format(name): GOOD[name]})
    assert scan.findings == ()
    assert scan.formats[called.format(name)] in ("safetensors", "gguf", "onnx", "sentencepiece", "npy")


A, B = tensor(0, 16, shape=[4]), tensor(16, 24)
BAD_SAFETENSORS = {
    "a header longer than the file": safetensors({"a": A}, bytes(16), length=10**6),
    "a header beyond the limit": safetensors({"a": A}, bytes(16), length=200 * 10**6),
    "a header of all bits": safetensors({"a": A}, bytes(16), length=2**64 - 1),
    "a header of nothing": safetensors({"a": A}, bytes(16), length=0),
    "a header that is cut": safetensors({"a": A}, bytes(16), length=20),
    "a tensor twice": safetensors(f'{{"a": {json.dumps(A)}, "a": {json.dumps(A)}}}', bytes(16)),
    "a key twice": safetensors(
        '{"a": {"dtype": "F32", "dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}', bytes(16)
    ),
    "metadata twice": safetensors('{"__metadata__": {"a": "1", "a": "2"}}'),
    "overlapping tensors": safetensors({"a": A, "b": tensor(8, 24)}, bytes(24)),
    "the same place twice": safetensors({"a": A, "b": A}, bytes(16)),
    "a hole": safetensors({"a": A, "b": tensor(20, 28)}, bytes(28)),
    "a hole at the beginning": safetensors({"a": tensor(4, 20)}, bytes(20)),
    "a tensor beyond the end": safetensors({"a": A, "b": B}, bytes(20)),
    "bytes behind the last tensor": safetensors({"a": A}, bytes(17)),
    "a zip behind the last tensor": good_safetensors() + b"PK\x03\x04 and so on",
    "an end before its beginning": safetensors({"a": {**A, "data_offsets": [16, 0]}}, bytes(16)),
    "a negative offset": safetensors({"a": {**A, "data_offsets": [-16, 0]}}, bytes(16)),
    "a huge offset": safetensors({"a": {**A, "data_offsets": [2**63, 2**63 + 16]}}, bytes(16)),
    "a fractional offset": safetensors({"a": {**A, "data_offsets": [0.0, 16.0]}}, bytes(16)),
    "a truth as an offset": safetensors({"a": {**A, "data_offsets": [False, 16]}}, bytes(16)),
    "three offsets": safetensors({"a": {**A, "data_offsets": [0, 8, 16]}}, bytes(16)),
    "a shape that needs more": safetensors({"a": {**A, "shape": [5]}}, bytes(16)),
    "a shape that overflows": safetensors({"a": {**A, "shape": [2**40, 2**40]}}, bytes(16)),
    "a negative shape": safetensors({"a": {**A, "shape": [-4]}}, bytes(16)),
    "an unknown type": safetensors({"a": {**A, "dtype": "O"}}, bytes(16)),
    "a type that is a list": safetensors({"a": {**A, "dtype": ["F32"]}}, bytes(16)),
    "half a byte": safetensors({"a": tensor(0, 1, dtype="F4", shape=[1])}, bytes(1)),
    "another key": safetensors({"a": {**A, "code": "x"}}, bytes(16)),
    "a missing key": safetensors({"a": {"dtype": "F32", "shape": [4]}}, bytes(16)),
    "a tensor that is a number": safetensors({"a": 4}, bytes(16)),
    "metadata that is a number": safetensors({"__metadata__": {"a": 1}}),
    "metadata that is a list": safetensors({"__metadata__": ["a"]}),
    "NaN": safetensors('{"a": NaN}'),
    "deep JSON": safetensors('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "no UTF-8": struct.pack("<Q", 8) + b'{"\xff": 1}',
    "two documents": safetensors("{} {}"),
}


@pytest.mark.catalogue("B4")
@pytest.mark.parametrize("case", BAD_SAFETENSORS)
def test_broken_safetensors_are_refused(case, tmp_path):
    scan = judged(tmp_path, model__safetensors=BAD_SAFETENSORS[case])
    assert rules(scan) == ["safetensors"]


@pytest.mark.catalogue("B4")
@given(
    st.dictionaries(st.text(max_size=4), st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=5),
    st.integers(0, 60),
)
def test_of_safetensors_passes_exactly_what_covers_the_file(ranges, size):
    header = {
        name: tensor(begin, end, dtype="U8", shape=[max(end - begin, 0)]) for name, (begin, end) in ranges.items()
    }
    header.pop("__metadata__", None)
    data = safetensors(header, bytes(size))
    places = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    whole = all(begin <= end for begin, end in places) and [0, *(end for _, end in places)] == [
        *(begin for begin, _ in places),
        size,
    ]
    try:
        said = format_of_safetensors.look(Source("x.safetensors", data, {}))
        assert whole and said is not None
    except Malformed:
        assert not whole


def test_weights_that_are_mapped_are_judged_by_their_header(tmp_path):
    size = 3 * 2**30
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    scan = judged_files(tmp_path, {})
    assert scan.findings == () and scan.bytes > size


def pairs(*more):
    return [("general.architecture", 8, text("llama")), *more]


ONE = [("a", [4], 0, 0)]
BAD_GGUF = {
    "version 1": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "version 99": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
    "cut in the head": b"GGUF\3\0\0\0",
    "2^60 tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
    "2^60 entries": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
    "more entries than there are": b"GGUF" + struct.pack("<IQQ", 3, 0, 3) + bytes(8),
    "a string longer than the file": gguf(pairs(("x", 8, struct.pack("<Q", 2**40) + b"short")), ONE, bytes(16)),
    "a string of all bits": gguf(pairs(("x", 8, struct.pack("<Q", 2**64 - 1))), ONE, bytes(16)),
    "a name longer than the file": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62),
    "an array longer than the file": gguf(pairs(("x", 9, struct.pack("<IQ", 4, 2**50))), ONE, bytes(16)),
    "an array of strings longer than the file": gguf(pairs(("x", 9, struct.pack("<IQ", 8, 2**50))), ONE, bytes(16)),
    "arrays without end": gguf(pairs(("x", 9, struct.pack("<IQ", 9, 1) * 10)), ONE, bytes(16)),
    "an unknown type": gguf(pairs(("x", 13, bytes(8))), ONE, bytes(16)),
    "an entry twice": gguf(pairs(*pairs()), ONE, bytes(16)),
    "an alignment of 0": gguf(pairs(("general.alignment", 4, bytes(4))), ONE, bytes(16)),
    "an alignment that is a text": gguf(pairs(("general.alignment", 8, text("32"))), ONE, bytes(16)),
    "a tensor beyond the end": gguf(pairs(), [("a", [1 << 20], 0, 0)], bytes(16)),
    "a tensor of 2^63 elements": gguf(pairs(), [("a", [2**63], 0, 0)], bytes(16)),
    "a shape that overflows": gguf(pairs(), [("a", [2**32, 2**32], 0, 0)], bytes(16)),
    "five dimensions": gguf(pairs(), [("a", [1, 1, 1, 1, 4], 0, 0)], bytes(16)),
    "no dimensions": gguf(pairs(), [("a", [], 0, 0)], bytes(16)),
    "an unknown tensor type": gguf(pairs(), [("a", [4], 200, 0)], bytes(16)),
    "half a block": gguf(pairs(), [("a", [31], 8, 0)], bytes(34)),
    "a crooked offset": gguf(pairs(), [("a", [4], 0, 4)], bytes(64)),
    "an offset beyond the end": gguf(pairs(), [("a", [4], 0, 2**62)], bytes(16)),
    "overlapping tensors": gguf(pairs(), [*ONE, ("b", [4], 0, 0)], bytes(64)),
    "a hole": gguf(pairs(), [("a", [4], 0, 64)], bytes(80)),
    "bytes behind the last tensor": gguf(pairs(), ONE, bytes(96)),
}


@pytest.mark.catalogue("B5")
@pytest.mark.parametrize("case", BAD_GGUF)
def test_a_gguf_that_declares_what_is_not_there_is_refused(case, tmp_path):
    assert rules(judged(tmp_path, model__gguf=BAD_GGUF[case])) == ["gguf"]


@pytest.mark.catalogue("B5")
def test_a_gguf_that_was_cut_anywhere_is_refused(tmp_path):
    whole = good_gguf()
    for end in range(4, len(whole) - 1, 3):
        assert rules(judged(tmp_path, model__gguf=whole[:end])) == ["gguf"], end


BAD_NPY = {
    "an unknown type": (npy("{'descr': '<z4', 'fortran_order': False, 'shape': (2,), }\n", bytes(8)), "npy"),
    "objects": (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n", b"\x80\x04N."), "numpy-object"),
    "objects in a structure": (
        npy("{'descr': [('a', 'O')], 'fortran_order': False, 'shape': (1,), }\n"),
        "numpy-object",
    ),
    "a structure": (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n", bytes(4)), "npy"),
    "code": (npy("{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (1,), }\n"), "npy"),
    "too little": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", bytes(7)), "npy"),
    "too much": (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", bytes(9)), "npy"),
    "a long header": (NPY + b"\xff\xff{", "npy"),
    "no header": (NPY, "npy"),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(8), "npy"),
}


@pytest.mark.catalogue("B3")
@pytest.mark.parametrize("case", BAD_NPY)
def test_arrays_of_objects_and_broken_arrays_are_refused(case, tmp_path):
    data, rule = BAD_NPY[case]
    assert rules(judged(tmp_path, x__npy=data)) == [rule]


CARRIERS = {
    "TorchScript": (
        zipped({"m/code/__torch__.py": b"def forward(self): ...", "m/constants.pkl": b"\x80\x02)."}),
        "torchscript",
    ),
    "TorchScript, by its constants": (zipped({"m/constants.pkl": b"\x80\x02)."}), "torchscript"),
    "Keras": (zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF"}), "keras"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "keras"),
    "HDF5 behind a user block": (bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(64), "keras"),
    "arrays in a zip": (
        zipped({"a.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n")}),
        "archive",
    ),
    "an ELF library": (b"\x7fELF" + bytes(60), "executable"),
    "a Windows library": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0", "executable"),
    "a macOS library": (b"\xcf\xfa\xed\xfe" + bytes(60), "executable"),
    "WebAssembly": (b"\0asm\1\0\0\0", "executable"),
    "compiled Python": (b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(20), "bytecode"),
    "a shell script": (b"#!/bin/sh\ntouch x\n", "code"),
    "Python": (b'"""Model."""\n\n# comment\nimport torch\n\nclass Model: ...\n', "code"),
    "more Python": (b"@dataclass\nclass A:\n    x: int\n", "code"),
}


@pytest.mark.catalogue("B3")
@pytest.mark.parametrize("case", CARRIERS)
@pytest.mark.parametrize("name", ["model.safetensors", "model.bin", "notes.txt"])
def test_what_carries_code_is_refused_under_any_name(case, name, tmp_path):
    data, rule = CARRIERS[case]
    assert rules(judged_files(tmp_path, {name: data})) == [rule]
