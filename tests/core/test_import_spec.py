"""What a spec may ask of a model that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from guideway.core.errors import SpecError
from guideway.core.spec import load

TEXT = {
    "guideway": 1,
    "name": "guest",
    "task": "completion",
    "data": {"sources": [{"path": "rows.jsonl"}]},
    "train": {"recipe": "import", "base": "model.bin"},
}
ABOUT = {"labels": ["a", "b"], "octets": {"begin": 4}}
GRAPH = {
    **TEXT,
    "task": "classify",
    "train": {"recipe": "import", "base": "model.onnx", "imported": ABOUT},
    "compress": {"precision": "fp32"},
}
RELEASE = "release:guest@sha256:" + "0" * 64


def loaded(folder: Path, spec: dict):
    path = folder / "guideway.yaml"
    path.write_text(yaml.safe_dump(spec))
    return load(path)


@pytest.mark.parametrize("spec", [TEXT, GRAPH, {**GRAPH, "evaluate": {"against": RELEASE}}])
def test_an_import_says_only_what_it_is(tmp_path: Path, spec: dict) -> None:
    assert loaded(tmp_path, spec).spec.train.recipe == "import"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({**TEXT, "train": {"recipe": "import"}}, "needs a base model"),
        ({**TEXT, "train": {"imported": {"origin": "x"}}}, "recipe 'scratch' imports nothing"),
        ({**TEXT, "train": {**TEXT["train"], "teacher": "x"}}, "has no teacher"),
        ({**TEXT, "train": {**TEXT["train"], "imported": ABOUT}}, "labels and octets are for a classifier"),
        ({**TEXT, "train": {**TEXT["train"], "imported": {"digest": "abc"}}}, "digest"),
        ({**TEXT, "train": {**TEXT["train"], "privacy": {"epsilon": 1.0}}}, "cannot learn with privacy"),
        ({**TEXT, "tune": {"search": {"batch": {"choices": [1, 2]}}}}, "nothing can be searched"),
        ({**TEXT, "compress": {"prune": {"share": 0.2}}}, "pruning reads rows"),
        ({**GRAPH, "evaluate": {"folds": 3}}, "folds train anew"),
        ({**GRAPH, "compress": {"precision": "int8"}}, "a graph ships as it came"),
        ({**GRAPH, "explain": {}}, "no words to explain"),
        ({**GRAPH, "train": {**GRAPH["train"], "imported": {"octets": {"begin": 4}}}}, "what its classes are called"),
        ({**GRAPH, "train": {**GRAPH["train"], "imported": {"labels": ["a", "b"]}}}, "how bytes become its input"),
    ],
)
def test_what_cannot_go_with_it_is_one_line(tmp_path: Path, spec: dict, why: str) -> None:
    with pytest.raises(SpecError, match=why) as caught:
        loaded(tmp_path, spec)
    assert "guideway.yaml" in str(caught.value)
