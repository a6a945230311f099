"""Models as graphs: ONNX and OpenVINO by their structure, their data beside them, and nothing that calls Python."""

from __future__ import annotations

import struct

import pytest
from onnx import onnx_pb
from scanner_rig import field, judged, judged_files, number, onnx_model, onnx_tensor, rules

from guideway.sealing.scanner import onnx


def external(location, **more):
    return onnx_model(onnx_tensor("w", location=location, **more))


OUTSIDE = [
    "../weights.bin",
    "a/../../weights.bin",
    "/etc/passwd",
    "..",
    ".",
    "",
    "C:\\weights",
    "..\\weights",
    "a\\b",
    "C:x",
    "a//b",
    "a/./b",
    "\0",
    "a\nb",
    "x" * 2000,
    "none.bin",
    "*/_ORT_MEM_ADDR_/*",
    "file:///etc/passwd",
]


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


def test_a_model_with_endless_fields_is_refused(tmp_path, monkeypatch):
    model = onnx_model(*[onnx_tensor(f"w{n}") for n in range(9)])
    monkeypatch.setattr(onnx, "FIELDS", 30)
    assert rules(judged(tmp_path, model__onnx=model)) == ["onnx"]


def test_our_schema_is_the_schema_of_onnx():
    kinds = {
        "model": "ModelProto",
        "graph": "GraphProto",
        "node": "NodeProto",
        "attribute": "AttributeProto",
        "tensor": "TensorProto",
        "sparse": "SparseTensorProto",
        "function": "FunctionProto",
        "training": "TrainingInfoProto",
        "entry": "StringStringEntryProto",
        "external": "StringStringEntryProto",
    }
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
}


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
