"""A classifier of bytes that came as a graph: taken over, measured, compared with another; odd graphs are one line."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from imported_rig import LABELS, graph_spec, write_bytes_rows, write_graph
from onnx import helper, numpy_helper
from stage_rig import STAGES, run_stage, write_jsonl

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.against.classes import compare_classes
from guideway.pipeline.stages.examples import rows_of
from guideway.replica.octets import OctetClassifier, open_classifier


def whole_pass(root: Path, spec=None):
    spec = spec or graph_spec()
    out, jobs = {}, {}
    for name, stage in STAGES.items():
        inputs = {need: out[need] for need in stage.needs}
        jobs[name] = run_stage(name, spec, root, root / "out" / name, **inputs)
        out[name] = root / "out" / name
    return jobs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_graph(tmp_path / "model.onnx")
    write_bytes_rows(tmp_path)
    return tmp_path


def test_a_graph_ships_byte_for_byte_and_is_measured_by_the_code_that_serves(project: Path) -> None:
    jobs = whole_pass(project)
    assert (project / "out/compress/model.onnx").read_bytes() == (project / "model.onnx").read_bytes()
    accuracy = jobs["evaluate"].one("accuracy", "compress", "test")
    assert (accuracy.value, accuracy.n) == (pytest.approx(18 / 19), 19)
    heard = {metric for metric, _ in jobs["evaluate"].heard}
    assert heard.isdisjoint({"baseline_accuracy", "cross_validated_spread"})
    assert (project / "out/data/train.jsonl").stat().st_size == 0


def test_two_models_are_compared_in_pairs(project: Path) -> None:
    other = project / "other"
    other.mkdir()
    write_graph(other / "model.onnx", size=2)
    write_bytes_rows(other)
    octets = {"begin": 2, "end": 0, "least": 1}
    train = {
        "recipe": "import",
        "base": "model.onnx",
        "imported": {"labels": [LABELS[1], LABELS[0], "none"], "octets": octets},
    }
    whole_pass(other, graph_spec(train=train))
    whole_pass(project)
    rows = list(rows_of(project / "out/data/test.jsonl"))
    (found,) = compare_classes("test", rows, project / "out/compress", other / "out/train", seed=7)
    assert (found.ours, found.theirs) == (pytest.approx(18 / 19), 0.0)  # its names are the wrong way round
    assert (found.value, found.mcnemar_p, found.n) == (pytest.approx(18 / 19), pytest.approx(2 * 0.5**18), 19)


def test_logits_become_probabilities_and_probabilities_stay(tmp_path: Path) -> None:
    found = []
    for softmax in (True, False):
        root = tmp_path / str(softmax)
        root.mkdir()
        write_graph(root / "model.onnx", softmax=softmax)
        write_bytes_rows(root)
        run_stage("data", graph_spec(), root, root / "data")
        run_stage("train", graph_spec(), root, root / "train", data=root / "data")
        found.append(OctetClassifier(root / "train").probabilities([[0, 0, 0, 1, 1, 2]]))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert found[0].argmax() == 0


def fault(root: Path, spec=None) -> str:
    with pytest.raises(GuidewayError) as caught:
        run_stage("data", spec or graph_spec(), root, root / "data")
        run_stage("train", spec or graph_spec(), root, root / "train", data=root / "data")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"domain": "com.example"}, "operator Mul of the domain 'com.example'"),
        ({"outside": True}, "takes data from"),
        ({"weight": [float("nan")]}, "weight holds weights that are NaN or infinite"),
        ({"weight": [float("inf"), 1.0, 1.0]}, "weight holds weights that are NaN or infinite"),
        ({"size": 7}, "takes 7 numbers, and begin and end are 6"),
        ({"classes": 4}, "the graph has 4 outputs, and there are 3 labels"),
        ({"kind": 1}, "is no matrix of whole numbers"),
    ],
)
def test_a_graph_that_cannot_serve_is_one_line(tmp_path: Path, odd: dict, why: str) -> None:
    write_graph(tmp_path / "model.onnx", **odd)
    write_bytes_rows(tmp_path)
    assert why in fault(tmp_path)


def hidden(path: Path, *, where: str, domain: str = "", weight: float = 1.0) -> None:
    """The usual graph with one more operator where it is not seen at once: a constant, inside a choice, a function."""
    model = onnx.load(write_graph(path))
    constant = helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.float32([weight]), "one"))
    odd = [constant, helper.make_node("Abs", ["one"], ["found"], domain=domain)]
    found = helper.make_tensor_value_info("found", onnx.TensorProto.FLOAT, [1])
    if where == "function":
        opsets = [helper.make_opsetid(one, 17) for one in {"", domain}]
        model.functions.append(helper.make_function("own", "Odd", [], ["found"], odd, opsets))
        model.opset_import.append(helper.make_opsetid("own", 1))
        odd = [helper.make_node("Odd", [], ["found"], domain="own")]
    elif where == "choice":
        branch = helper.make_graph(odd, "branch", [], [found])
        truth = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True), "yes"))
        odd = [truth, helper.make_node("If", ["yes"], ["found"], then_branch=branch, else_branch=branch)]
    model.graph.node.extend(odd)
    onnx.save(model, path)


@pytest.mark.parametrize("where", ["graph", "choice", "function"])
def test_what_is_hidden_inside_a_graph_is_judged_as_the_rest_is(tmp_path: Path, where: str) -> None:
    write_bytes_rows(tmp_path)
    for odd, why in (
        ({"domain": "com.microsoft"}, "of the domain 'com.microsoft'"),
        ({"weight": float("nan")}, "holds weights that are NaN or infinite"),
    ):
        hidden(tmp_path / "model.onnx", where=where, **odd)
        assert why in fault(tmp_path)
        shutil.rmtree(tmp_path / "data")
        shutil.rmtree(tmp_path / "train", ignore_errors=True)
    hidden(tmp_path / "model.onnx", where=where)
    run_stage("data", graph_spec(), tmp_path, tmp_path / "data")
    run_stage("train", graph_spec(), tmp_path, tmp_path / "train", data=tmp_path / "data")


def test_weights_of_a_size_that_they_do_not_have_are_one_line(tmp_path: Path) -> None:
    model = onnx.load(write_graph(tmp_path / "model.onnx"))
    next(one for one in model.graph.initializer if one.name == "weight").dims[:] = [1 << 40, 1 << 20]
    onnx.save(model, tmp_path / "model.onnx")
    write_bytes_rows(tmp_path)
    assert "model.onnx" in fault(tmp_path)


def test_half_a_graph_and_no_graph_are_one_line(project: Path) -> None:
    data = (project / "model.onnx").read_bytes()
    (project / "model.onnx").write_bytes(data[: len(data) // 2])
    assert "model.onnx" in fault(project)
    (project / "model.onnx").write_bytes(b"not a graph at all")
    shutil.rmtree(project / "data")
    shutil.rmtree(project / "train", ignore_errors=True)
    assert "model.onnx" in fault(project)


def test_labels_come_from_a_key_of_a_json_file(project: Path) -> None:
    (project / "config.json").write_text(json.dumps({"names": LABELS, "odd": ["a", "a"]}))
    about = {"octets": {"begin": 4, "end": 2}}
    for key, why in (("names", ""), ("odd", "two different names"), ("gone", "there is no list 'gone'")):
        train = {"recipe": "import", "base": "model.onnx", "imported": about | {"labels_from": f"config.json#{key}"}}
        if why:
            assert why in fault(project, graph_spec(train=train))
        else:
            run_stage("data", graph_spec(train=train), project, project / "data")
            run_stage("train", graph_spec(train=train), project, project / "train", data=project / "data")
            assert list(open_classifier(project / "train").settings.labels) == LABELS
        for name in ("data", "train"):
            shutil.rmtree(project / name, ignore_errors=True)


@pytest.mark.data
def test_a_released_classifier_says_what_its_authors_say_it_says(tmp_path: Path) -> None:
    folder = Path(os.environ["GUIDEWAY_TEST_DATA"]) / "model-magika"
    examples = json.loads(
        gzip.decompress((folder / "standard_v3_3-inference_examples_by_content.json.gz").read_bytes())
    )
    known = [one for one in examples if one["prediction"]["dl"] != "undefined"]
    rows = [{"text": "data:;base64," + one["content_base64"], "label": one["prediction"]["dl"]} for one in known]
    for name in ("model.onnx", "config.min.json"):
        shutil.copyfile(folder / name, tmp_path / name)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    octets = {"begin": 1024, "end": 1024, "least": 8}
    about = {"labels_from": "config.min.json#target_labels_space", "octets": octets}
    spec = graph_spec(train={"recipe": "import", "base": "model.onnx", "imported": about})
    run_stage("data", spec, tmp_path, tmp_path / "data")
    run_stage("train", spec, tmp_path, tmp_path / "train", data=tmp_path / "data")
    model = open_classifier(tmp_path / "train")
    assert len(known) > 100
    for row, one in zip(rows, known, strict=True):
        (found,) = model.probabilities([model.reader.encode(row["text"])])
        assert model.settings.labels[int(found.argmax())] == row["label"]
        assert found.max() == pytest.approx(one["prediction"]["score"], abs=1e-4)
    least = next(one for one in examples if one["prediction"]["dl"] == "undefined")
    with pytest.raises(GuidewayError, match="too few to judge"):
        model.reader.encode("data:;base64," + base64.b64encode(base64.b64decode(least["content_base64"])).decode())
