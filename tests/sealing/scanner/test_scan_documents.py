"""Documents: remote code in configurations, broken JSON and YAML, links and odd places, and what a release holds."""

from __future__ import annotations

import ast
import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scanner_rig import (
    good_gguf,
    good_safetensors,
    judged,
    judged_files,
    onnx_model,
    onnx_tensor,
    rules,
    sentencepiece_model,
)

from guideway.sealing import scanner
from guideway.sealing.scanner import FORMATS, documents, images, markup, scan_files, scan_folder
from guideway.sealing.scanner.findings import ADVICE, Malformed, finding, shown
from guideway.sealing.scanner.source import Source

CODE = {
    "auto_map": ({"auto_map": {"AutoModel": "modeling.Model"}}, "auto-map"),
    "auto_map as a text": ({"auto_map": "modeling.Model"}, "auto-map"),
    "auto_map as a list": ({"auto_map": ["tokenization.T", None]}, "auto-map"),
    "auto_map, deep": ({"text_config": [{"x": {"auto_map": {"AutoConfig": "a.B"}}}]}, "auto-map"),
    "auto_map of another repository": ({"auto_map": {"AutoModel": "somebody/other--modeling.Model"}}, "auto-map"),
    "trust": ({"trust_remote_code": True}, "trust-remote-code"),
    "trust as a text": ({"a": {"trust_remote_code": "True"}}, "trust-remote-code"),
    "Hydra": ({"model": {"_target_": "os.system", "_args_": ["x"]}}, "code-reference"),
    "jsonargparse": ({"class_path": "os.system"}, "code-reference"),
    "jsonpickle": ({"py/object": "os.system"}, "code-reference"),
    "jsonpickle, reduce": ({"a": [{"py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["x"]}]}]}, "code-reference"),
    "a pipeline": ({"custom_pipelines": {"x": {"impl": "pipeline.P"}}}, "code-reference"),
    "a library of operators": ({"model": {"custom_ops_library": "ops.so"}}, "code-reference"),
    "peft": ({"auto_mapping": {"base_model_class": "M", "parent_library": "my_package.models"}}, "code-reference"),
    "sentence-transformers": ([{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}], "code-reference"),
    "Keras": ({"module": "keras.layers", "class_name": "Lambda", "config": {}}, "keras"),
    "weights elsewhere": ({"weight_map": {"a": "../../other.safetensors"}}, "path"),
    "weights at a place": ({"weight_map": {"a": "/data/model.safetensors"}}, "path"),
}
HARMLESS = {
    "auto_map of nothing": {"auto_map": {}, "trust_remote_code": False, "custom_pipelines": {}},
    "auto_map null": {"auto_map": None},
    "types of their own library": [{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}],
    "peft of transformers": {"auto_mapping": {"parent_library": "transformers.models.llama.modeling_llama"}},
    "weights beside": {"metadata": {"total_size": 1}, "weight_map": {"a": "model-00001-of-00002.safetensors"}},
    "modules of an adapter": {"target_modules": ["q_proj"], "modules_to_save": None, "module": "x"},
    "sources of a manifest": {"sources": [{"path": "data/x.jsonl", "type": "jsonl", "licence": "MIT"}]},
}


@pytest.mark.catalogue("B8")
@pytest.mark.parametrize("case", CODE)
def test_a_configuration_that_names_code_is_refused(case, tmp_path):
    value, rule = CODE[case]
    assert set(rules(judged_files(tmp_path, {"config.json": json.dumps(value)}))) == {rule}
    assert set(rules(judged_files(tmp_path, {"config.json": "", "x.yaml": json.dumps(value)}))) == {rule}


@pytest.mark.catalogue("B8")
def test_a_key_that_stands_twice_is_seen_twice(tmp_path):
    text = '{"auto_map": {"AutoModel": "m.M"}, "auto_map": null}'
    assert rules(judged(tmp_path, config__json=text)) == ["auto-map"]


@pytest.mark.catalogue("B8")
@pytest.mark.parametrize(
    "name", ["modeling.py", "sub/tokenization.py", "setup.sh", "x.ipynb", "lib.so", "x.pth", "A.PY"]
)
def test_code_by_name_is_refused_whatever_is_inside(name, tmp_path):
    assert "code" in rules(judged_files(tmp_path, {name: "{}"}))


@pytest.mark.parametrize("case", HARMLESS)
def test_a_configuration_that_names_no_code_passes(case, tmp_path):
    assert judged_files(tmp_path, {"config.json": json.dumps(HARMLESS[case])}).findings == ()


BAD = {
    "broken JSON": ("config.json", '{"a": 1,}', "json"),
    "JSON cut": ("config.json", '{"a": ', "json"),
    "deep JSON": ("config.json", "[" * 200_000 + "]" * 200_000, "json"),
    "a huge number": ("config.json", "1" * 10_000, "json"),
    "bytes in JSON": ("config.json", b'{"a": "\xff"}', "unknown-format"),
    "broken lines": ("rows.jsonl", '{"a": 1}\n{"a":\n', "json"),
    "broken YAML": ("x.yaml", "a: [1, 2\nb: {", "yaml"),
    "a YAML object": ("x.yaml", "a: !!python/object/apply:os.system ['x']\n", "yaml-tag"),
    "a YAML name": ("x.yml", "a: !!python/name:os.system\n", "yaml-tag"),
    "a YAML tag of one's own": ("x.yaml", "a: !Code x\n", "yaml-tag"),
    "a YAML tag by its long name": ("x.yaml", "a: !<tag:yaml.org,2002:python/object/new:os.system> x\n", "yaml-tag"),
    "control characters": ("notes.txt", "a\0b", "unknown-format"),
    "another encoding": ("notes.txt", "näh".encode("latin-1"), "unknown-format"),
    "UTF-16": ("notes.txt", "hello".encode("utf-16"), "unknown-format"),
    "random bytes": ("model.bin", bytes(range(256)) * 8, "unknown-format"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_broken_document_is_refused(case, tmp_path):
    name, data, rule = BAD[case]
    assert rules(judged_files(tmp_path, {name: data})) == [rule]


def test_a_yaml_bomb_costs_nothing(tmp_path):
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert judged_files(tmp_path, {"x.yaml": "\n".join(lines)}).findings == ()


@pytest.mark.parametrize(("limit", "at"), [("JSON_LIMIT", 40), ("ITEMS", 12)])
def test_a_document_that_would_cost_too_much_is_refused_unread(limit, at, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, limit, at)
    files = {"small.json": "[1, 2, 3, 4]", "large.json": json.dumps(list(range(20)))}
    assert [(one.path, one.rule) for one in judged_files(tmp_path, files).findings] == [("large.json", "too-large")]


@pytest.mark.parametrize(("module", "limit", "name"), [(markup, "LIMIT", "h.xml"), (images, "LIMIT", "m.png"),
                                                       (documents, "YAML_LIMIT", "g.yaml")])  # fmt: skip
def test_each_format_has_a_size_beyond_which_nothing_is_read(module, limit, name, tmp_path, monkeypatch):
    files = {name: GOOD.get(name, b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\0\0\0\0")}
    assert judged_files(tmp_path, files).findings == ()
    monkeypatch.setattr(module, limit, 5)
    assert rules(judged_files(tmp_path, files)) == ["too-large"]


@pytest.mark.catalogue("B9")
def test_links_and_whatever_is_no_file_are_findings(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("config.json")
    (tmp_path / "folder").symlink_to("/etc")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        scan = scan_folder(tmp_path)
    assert {one.path: one.rule for one in scan.findings} == {
        "link.json": "link",
        "folder": "link",
        "dangling": "link",
        "pipe": "special-file",
        "socket": "special-file",
    }
    assert scan.files == 1


def test_a_file_that_is_a_link_or_pipe_is_refused_by_its_place_too(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    scan = scan_files([("a.json", tmp_path / "link"), ("b.json", tmp_path / "pipe")])
    assert {(one.path, one.rule) for one in scan.findings} >= {("a.json", "link"), ("b.json", "special-file")}


def test_names_that_cannot_be_shown_are_findings_and_can_be_written(tmp_path):
    (tmp_path / "a\nb.json").write_text("{}")
    (tmp_path / "tab\t.json").write_text("{}")
    scan = scan_folder(tmp_path)
    assert [one.rule for one in scan.findings] == ["file-name", "file-name"]


def test_blobs_are_judged_under_the_names_of_their_release(tmp_path):
    (tmp_path / "aa").write_bytes(onnx_model(onnx_tensor("w", location="model.onnx.data")))
    (tmp_path / "bb").write_bytes(b"\0\xff" * 32)
    scan = scan_files([("model/model.onnx", tmp_path / "aa"), ("model/model.onnx.data", tmp_path / "bb")])
    assert scan.findings == ()
    assert scan.formats == {"model/model.onnx": "onnx", "model/model.onnx.data": "onnx-data"}
    scan = scan_files([("model/modeling.py", tmp_path / "aa"), ("../out", tmp_path / "bb")])
    assert {one.rule for one in scan.findings} == {"code", "file-name", "unknown-format", "onnx-external"}


def test_progress_ends_with_everything(tmp_path):
    seen = []
    for name in "abc":
        (tmp_path / name).write_text("text\n")
    scan_folder(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(5, 15), (10, 15), (15, 15)]


def test_every_rule_has_its_advice_and_every_advice_its_rule():
    used = set()
    for path in Path(scanner.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            if isinstance(node, ast.Call | ast.Return | ast.Yield) and path.name != "findings.py":
                used |= words & set(ADVICE)
            called = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
            if called in ("Malformed", "finding") and isinstance(node.args[0], ast.Constant):
                assert node.args[0].value in ADVICE, f"{path.name}:{node.lineno}"
    assert used == set(ADVICE)


def test_a_finding_says_what_to_do_and_shows_nothing_raw(tmp_path):
    assert all(advice and advice[-1] != "." for advice in ADVICE.values())
    said = str(finding("pickle", "model.bin", "is a pickle"))
    assert said == f"model.bin: is a pickle ({ADVICE['pickle']})"
    for raw in ("a\x1b[31mb", "a\nb", "a\u202eb", "a\u2028b", "\ud800", "x" * 100):
        assert "\x1b" not in shown(raw) and shown(raw).isprintable() and len(shown(raw)) <= 60


GOOD = {
    "a.safetensors": good_safetensors(),
    "b.gguf": good_gguf(tokenizer__chat_template="{% for m in messages %}{{ m.content }}{% endfor %}"),
    "c.onnx": onnx_model(onnx_tensor("w")),
    "d.model": sentencepiece_model(),
    "e.json": b'{"a": [1, {"chat_template": "{{ x }}"}]}',
    "f.jsonl": b'{"a": 1}\n{"a": 2}\n',
    "g.yaml": b"a: [1, {b: c}]\n",
    "h.xml": b'<?xml version="1.0"?><net><layers/></net>',
    "i.npy": b"\x93NUMPY\x01\x00\x3b\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n" + bytes(4),
    "j.jinja": b"{% if x %}{{ x }}{% endif %}",
    "k.md": b"# A model\n",
    "l.pkl": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
}


def look_at(name, data):
    """Hold *data* against every format, as a scan does but without a disk."""
    source = Source(name, data, {name: len(data)})
    for look in FORMATS.values():
        try:
            said = look(source)
            if said is not None:
                return list(said)
        except Malformed:
            return []
    return None


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=2000)
@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=400))
def test_any_bytes_under_any_name_are_judged_without_an_error(name, data):
    look_at(name, data)


@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow], deadline=2000)
@given(st.sampled_from(sorted(GOOD)), st.data())
def test_a_whole_file_with_some_bytes_changed_is_judged_without_an_error(name, draw):
    data = bytearray(GOOD[name])
    for _ in range(draw.draw(st.integers(1, 6))):
        place = draw.draw(st.integers(0, len(data) - 1))
        what = draw.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if what == "flip":
            data[place] = draw.draw(st.integers(0, 255))
        elif what == "cut" and place:
            del data[place:]
        elif what == "insert":
            data[place:place] = draw.draw(st.binary(min_size=1, max_size=9))
        else:
            data[place:place] = data[place : place + 40]
    look_at(name, bytes(data))
