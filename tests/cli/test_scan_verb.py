"""``guideway scan``: a table or JSON, one line at the end, and an exit code that a script can trust."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def model(guideway):
    folder = guideway.folder / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "README.md").write_text("# A model\n")
    return folder


def test_a_clean_folder_is_one_line_and_ends_with_0(guideway, model):
    said = guideway("scan", "model")
    assert said.returncode == 0 and said.stderr == ""
    assert said.stdout == "2 files, 0.0 MB, nothing unsafe, no secret: json, text\n"


def test_findings_are_a_table_and_end_with_3(guideway, model):
    (model / "model.safetensors").write_bytes(b"\x80\x02cos\nsystem\n(X\x01\0\0\0xtR.")
    (model / "modeling.py").write_text("import os\n")
    said = guideway("scan", "model", COLUMNS="200")
    assert said.returncode == 3
    lines = said.stdout.splitlines()
    assert lines[0].split() == ["FILE", "RULE", "FOUND"]
    assert lines[1].startswith("model.safetensors  pickle") and "is a pickle that calls os.system" in lines[1]
    assert lines[2].startswith("modeling.py        code")
    assert [line for line in lines if line.startswith("  pickle: convert it to safetensors")]
    assert len(said.stderr.splitlines()) == 1 and "2 findings in 2 of 4 files" in said.stderr


def test_json_is_for_machines(guideway, model):
    assert json.loads(guideway("scan", "model", "--json").stdout)["safe"] is True
    (model / "x.pt").write_bytes(b"\x80\x02cos\nsystem\n.")
    said = guideway("scan", "model", "--json")
    found = json.loads(said.stdout)
    assert said.returncode == 3 and found["safe"] is False
    assert [(one["path"], one["rule"]) for one in found["findings"]] == [("x.pt", "pickle")]
    assert found["formats"]["x.pt"] == "pickle"


def test_a_single_file_is_judged_by_its_content(guideway, model):
    (model / "innocent.json").write_bytes(b"\x80\x02cos\nsystem\n.")
    said = guideway("scan", "model/innocent.json")
    assert said.returncode == 3 and "1 finding in 1 of 1 file" in said.stderr
    assert guideway("scan", "model/config.json").returncode == 0


def test_a_secret_is_told_and_not_shown(guideway, model):
    token = "AKIA" + "QWERTYUIOP234567"
    (model / "notes.txt").write_text(f"first\nuse {token}\n")
    said = guideway("scan", "model")
    assert said.returncode == 3 and "AWS access key on line 2" in said.stdout
    assert token not in said.stdout + said.stderr


@pytest.mark.parametrize("argv", [["scan", "nothing"], ["scan"]])
def test_a_place_that_is_not_there_is_a_wrong_argument(guideway, argv):
    said = guideway(*argv)
    assert said.returncode == 2 and len(said.stderr.splitlines()) == 1
