"""Weights: safetensors, GGUF, ONNX, OpenVINO, arrays and tokenizers pass when they are whole, and only then."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import onnx_pb
from scanner_rig import (
    field,
    gguf,
    good_gguf,
    good_safetensors,
    judged,
    judged_files,
    number,
    onnx_model,
    onnx_tensor,
    rules,
    safetensors,
    sentencepiece_model,
    tensor,
    text,
    zipped,
)

from guideway.sealing.scanner import onnx
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
    "a key twice": safetensors('{"a": {"dtype": "F32", "dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}', bytes(16)),
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
    "two documents": safetensors('{} {}'),
}  # fmt: skip


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


def external(location, **more):
    return onnx_model(onnx_tensor("w", location=location, **more))


OUTSIDE = [
    "../weights.bin", "a/../../weights.bin", "/etc/passwd", "..", ".", "", "C:\\weights", "..\\weights", "a\\b", "C:x",
    "a//b", "a/./b", "\0", "a\nb", "x" * 2000, "none.bin", "*/_ORT_MEM_ADDR_/*", "file:///etc/passwd",
]  # fmt: skip


@pytest.mark.catalogue("B7")
@pytest.mark.parametrize("location", OUTSIDE)
def test_external_data_outside_the_folder_is_refused(location, tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(64))
    scan = judged_files(tmp_path / "model", {"sub/model.onnx": external(location)})
    assert rules(scan) == ["onnx-external"]


@pytest.mark.catalogue("B7")
def test_external_data_behind_a_link_is_refused(tmp_path):
    (tmp_path / "outside.bin").write_bytes(bytes(64))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "outside.bin")
    assert sorted(rules(judged_files(tmp_path / "model", {"model.onnx": external("w.bin")}))) == [
        "link",
        "onnx-external",
    ]


@pytest.mark.catalogue("B7")
@pytest.mark.parametrize(
    "more", [{"offset": "60", "length": "8"}, {"length": "65"}, {"offset": "-1"}, {"offset": "9" * 30}, {"length": "x"}]
)
def test_external_data_beyond_the_end_is_refused(more, tmp_path):
    files = {"model.onnx": external("w.bin", **more), "w.bin": b"\0\xff" * 32}
    assert "onnx-external" in rules(judged_files(tmp_path, files))


def test_external_data_passes_where_a_model_claims_it(tmp_path):
    files = {"m/model.onnx": external("./w.bin", offset="0", length="64"), "m/w.bin": b"\0\xff" * 32}
    scan = judged_files(tmp_path, files)
    assert scan.findings == () and scan.formats["m/w.bin"] == "onnx-data"
    assert rules(judged_files(tmp_path, {"w.bin": b"\0\xff" * 32})) == ["unknown-format"]


@pytest.mark.catalogue("B2")
def test_a_claim_does_not_make_a_pickle_weights(tmp_path):
    files = {"model.onnx": external("w.bin"), "w.bin": b"\x80\x02cos\nsystem\n)R."}
    assert rules(judged_files(tmp_path, files)) == ["pickle"]


def test_external_data_is_found_at_any_depth(tmp_path):
    inner = field(1, field(4, "If") + field(5, field(1, "t") + field(5, onnx_tensor("w", location="../x"))))
    for graph in (inner, field(1, field(4, "If") + field(5, field(1, "g") + field(6, inner)))):
        assert rules(judged(tmp_path, model__onnx=onnx_model(graph=graph))) == ["onnx-external"]
    function = field(25, field(1, "f") + field(7, field(5, field(5, onnx_tensor("w", location="../x")))))
    assert rules(judged(tmp_path, model__onnx=onnx_model(model=function))) == ["onnx-external"]


def test_two_places_for_one_tensor_are_refused(tmp_path):
    twice = onnx_tensor("w", location="w.bin") + field(13, field(1, "location") + field(2, "../x"))
    files = {"model.onnx": onnx_model(twice), "w.bin": b"\0\xff" * 32}
    assert "onnx-external" in rules(judged_files(tmp_path, files))


@pytest.mark.parametrize("op", ["PyOp", "PythonOp", "PyCustomOp", "PyFunc"])
def test_operators_in_python_are_refused(op, tmp_path):
    assert rules(judged(tmp_path, model__onnx=onnx_model(op=op, domain="ai.onnx.contrib"))) == ["onnx-python-op"]


def test_operators_of_a_native_library_pass_because_no_file_brings_one(tmp_path):
    assert rules(judged(tmp_path, model__onnx=onnx_model(op="GroupQueryAttention", domain="com.microsoft"))) == []


NO_ONNX = {
    "an unknown field": onnx_model(model=field(99, "code")),
    "a field of another type": onnx_model() + field(5, "text"),
    "two graphs": onnx_model(model=field(7, field(2, "g"))),
    "no graph": field(1, 9) + field(2, "rig"),
    "a TensorFlow saved model": field(1, 1) + field(2, field(1, field(1, "tags"))),
    "a group": onnx_model() + number(3 << 3 | 3),
    "cut": onnx_model(onnx_tensor("w"))[:-3],
}


@pytest.mark.parametrize("case", NO_ONNX)
def test_what_is_nearly_onnx_is_unknown(case, tmp_path):
    assert rules(judged(tmp_path, model__onnx=NO_ONNX[case])) == ["unknown-format"]


def test_a_broken_part_of_a_model_is_refused(tmp_path):
    assert rules(judged(tmp_path, model__onnx=onnx_model(node=field(99, "x")))) == ["onnx"]
    deep = b""
    for _ in range(80):
        deep = field(1, field(5, field(6, deep)))
    assert rules(judged(tmp_path, model__onnx=onnx_model(graph=deep))) == ["onnx"]


def test_our_schema_is_the_schema_of_onnx():
    kinds = {"model": "ModelProto", "graph": "GraphProto", "node": "NodeProto", "attribute": "AttributeProto",
             "tensor": "TensorProto", "sparse": "SparseTensorProto", "function": "FunctionProto",
             "training": "TrainingInfoProto", "entry": "StringStringEntryProto", "external": "StringStringEntryProto"}  # fmt: skip
    assert set(kinds) == set(onnx.SCHEMA)
    for ours, theirs in kinds.items():
        fields = {one.number: one for one in getattr(onnx_pb, theirs).DESCRIPTOR.fields}
        assert set(onnx.SCHEMA[ours]) == set(fields), theirs
        for place, kind in onnx.SCHEMA[ours].items():
            inner = fields[place].message_type
            assert (kind in onnx.SCHEMA or kind == "leaf") == (inner is not None), (theirs, place)
            assert kind not in kinds or kinds[kind] == inner.name


IR = '<?xml version="1.0"?><net name="m" version="11"><layers><layer id="0" type="Const">{}</layer></layers></net>'


def test_openvino_passes_with_the_weights_that_it_declares(tmp_path):
    ir = IR.format('<data offset="16" size="48"/>')
    scan = judged_files(tmp_path, {"model.xml": ir, "model.bin": b"\0\xff" * 32})
    assert scan.findings == () and scan.formats["model.bin"] == "openvino-data"


@pytest.mark.parametrize(
    ("inner", "weights", "found"),
    [
        ('<data offset="16" size="49"/>', 64, ["openvino", "unknown-format"]),
        ('<data offset="-1" size="4"/>', 64, ["openvino", "unknown-format"]),
        ('<data offset="0" size="99999999999999999999"/>', 64, ["openvino", "unknown-format"]),
        ('<data offset="0" size="8"/>', 0, ["openvino"]),
    ],
)
def test_openvino_that_declares_more_than_there_is_is_refused(inner, weights, found, tmp_path):
    files = {"model.xml": IR.format(inner)} | ({"model.bin": b"\0\xff" * (weights // 2)} if weights else {})
    assert sorted(rules(judged_files(tmp_path, files))) == found


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
XML = {
    "an entity that reads a file": '<?xml version="1.0"?><!DOCTYPE net [<!ENTITY x SYSTEM "file:///etc/passwd">]><net>&x;</net>',
    "an entity bomb": f'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a0 "x">{BOMB}]><net>&a9;</net>',
    "a DTD from elsewhere": '<!DOCTYPE net SYSTEM "http://127.0.0.1/x.dtd"><net/>',
    "a stylesheet": '<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?><net/>',
    "an unknown root": '<?xml version="1.0"?><PMML/>',
    "cut": '<?xml version="1.0"?><net><layers>',
    "too deep": '<?xml version="1.0"?>' + "<net>" * 400 + "</net>" * 400,
    "a script": '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "a handler": '<svg onload="alert(1)"/>',
    "a link elsewhere": '<svg><a href="http://127.0.0.1/"/></svg>',
    "a script as a link": '<svg><a style="x:javascript:alert(1)"/></svg>',
}  # fmt: skip


@pytest.mark.parametrize("case", XML)
def test_xml_that_reads_or_does_something_is_refused(case, tmp_path):
    assert rules(judged(tmp_path, x__xml=XML[case])) == ["xml"]


def test_a_still_picture_passes(tmp_path):
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0) + b"IEND" + bytes(4)
    files = {
        "a.svg": '<svg><path d="M0 0"/><use href="#x"/></svg>',
        "b.png": png,
        "c.jpg": b"\xff\xd8\xff\xe0xx\xff\xd9",
    }
    assert judged_files(tmp_path, files).findings == ()
    files = {"b.png": png + b"more", "c.jpg": b"\xff\xd8\xff\xe0xx"}
    assert rules(judged_files(tmp_path, files)) == ["image", "image"]


BAD_NPY = {
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
    "TorchScript": (zipped({"m/code/__torch__.py": b"def forward(self): ...", "m/constants.pkl": b"\x80\x02)."}), "torchscript"),
    "TorchScript, by its constants": (zipped({"m/constants.pkl": b"\x80\x02)."}), "torchscript"),
    "Keras": (zipped({"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"\x89HDF"}), "keras"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "keras"),
    "HDF5 behind a user block": (bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(64), "keras"),
    "arrays in a zip": (zipped({"a.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n")}), "archive"),
    "an ELF library": (b"\x7fELF" + bytes(60), "executable"),
    "a Windows library": (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0", "executable"),
    "a macOS library": (b"\xcf\xfa\xed\xfe" + bytes(60), "executable"),
    "WebAssembly": (b"\0asm\1\0\0\0", "executable"),
    "compiled Python": (b"\xa7\r\r\n" + bytes(12) + b"\xe3" + bytes(20), "bytecode"),
    "a shell script": (b"#!/bin/sh\ntouch x\n", "code"),
    "Python": (b'"""Model."""\n\n# comment\nimport torch\n\nclass Model: ...\n', "code"),
    "more Python": (b"@dataclass\nclass A:\n    x: int\n", "code"),
}  # fmt: skip


@pytest.mark.catalogue("B3")
@pytest.mark.parametrize("case", CARRIERS)
@pytest.mark.parametrize("name", ["model.safetensors", "model.bin", "notes.txt"])
def test_what_carries_code_is_refused_under_any_name(case, name, tmp_path):
    data, rule = CARRIERS[case]
    assert rules(judged_files(tmp_path, {name: data})) == [rule]
