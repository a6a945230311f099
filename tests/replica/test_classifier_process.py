"""A classifier as a process: started as its engine says, asked as the fleet asks, drained when told."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from classifier_fakes import LABELS, write_reader
from onnx import TensorProto, helper, numpy_helper

from guideway.core.launch import Launch, Probe
from guideway.core.release import ServeSettings
from guideway.engines import engine
from guideway.kit.process import free_port
from guideway.targets.probe import ask

SETTINGS = ServeSettings(name="weather", task="classify", engine="onnx")


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A release whose model adds up the scores of the words, and whose third class is not finite for 'rain'."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "serve.json").write_text(json.dumps({"name": "weather", "task": "classify", "engine": "onnx"}))
    write_reader(folder / "model")
    onnx.save(graph(), folder / "model" / "model.onnx")
    return folder


def graph() -> onnx.ModelProto:
    import numpy as np

    scores = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, np.nan]], np.float32)
    table, axes = numpy_helper.from_array(scores, "table"), numpy_helper.from_array(np.array([2]), "axes")
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["real", "axes"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["logits"], keepdims=0),
    ]
    shape = ["rows", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", len(LABELS)])
    one = numpy_helper.from_array(np.array([1]), "one")
    made = helper.make_graph(nodes, "weather", inputs, [output], [table, axes, one])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@contextlib.contextmanager
def running(release: Path) -> Iterator[tuple[subprocess.Popen[str], Launch]]:
    """The replica that the engine describes, once it listens."""
    launch = engine("onnx").launch(release, SETTINGS, port=free_port(), threads=1)
    env = {**os.environ, **dict(launch.env)}
    with subprocess.Popen(launch.argv, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("listens on" in line for line in process.stderr)
            yield process, launch
        finally:
            process.kill()


def infer(port: int, *texts: str) -> http.client.HTTPResponse:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v2/models/weather/infer", json.dumps({"inputs": [tensor]}))
    return connection.getresponse()


def test_a_replica_proves_that_it_classifies_answers_and_drains(release):
    with running(release) as (process, launch):
        assert ask(launch.port, launch.probe).ready
        answer = infer(launch.port, "storm", "calm", "zebra")
        labels = json.loads(answer.read())["outputs"][0]["data"]
        assert (answer.status, labels) == (200, ["storm", "calm", "none of them"])
        assert infer(launch.port, "rain").status == 500, "its scores are no numbers"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_server_whose_answer_is_no_classification_lies(release):
    with running(release) as (_, launch):
        found = ask(
            launch.port,
            Probe(launch.probe.path, json.dumps({"inputs": json.loads(launch.probe.body)["inputs"]}), "class"),
        )
        assert (found.ready, found.lies, found.why) == (False, True, "it named no class")
        assert not ask(launch.port, Probe(launch.probe.path, launch.probe.body, "token")).ready


def test_a_folder_that_is_no_classifier_is_one_line(release, tmp_path):
    (tmp_path / "serve.json").write_bytes((release / "serve.json").read_bytes())
    launch = engine("onnx").launch(tmp_path, SETTINGS, port=free_port(), threads=1)
    done = subprocess.run(  # noqa: PLW1510 - its status is looked at
        launch.argv, env={**os.environ, **dict(launch.env)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "there is no classifier.json" in done.stderr and len(done.stderr.splitlines()) == 1
