"""Embeddings as a process: started as its engine says, asked as the fleet asks, drained when told."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from embedder_fakes import DIRECTIONS, MOST, WIDTH, write_embedder
from onnx import TensorProto, helper, numpy_helper

from guideway.core.launch import Probe
from guideway.core.release import ServeSettings
from guideway.engines import engine
from guideway.kit.process import free_port
from guideway.replica.embedder import EmbedderSettings, write_settings
from guideway.targets.probe import ask

SETTINGS = ServeSettings(name="weather", task="embed", engine="onnx")


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """A release whose embedding of a text is the direction of its first word; that of 'rain' is no number."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "serve.json").write_text(json.dumps({"name": "weather", "task": "embed", "engine": "onnx"}))
    write_embedder(folder / "model")
    onnx.save(graph(), folder / "model" / "model.onnx")
    return folder


def graph() -> onnx.ModelProto:
    table = DIRECTIONS.copy()
    table[3, 0] = np.nan
    tensors = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(0), "first")]
    nodes = [
        helper.make_node("Gather", ["input_ids", "first"], ["ids"], axis=1),
        helper.make_node("Gather", ["table", "ids"], ["embedding"]),
    ]
    shape = ["rows", "tokens"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["rows", WIDTH])
    made = helper.make_graph(nodes, "weather", inputs, [output], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def post(port: int, given: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/embeddings", json.dumps({"model": "weather", "input": given}))
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_replica_proves_that_it_embeds_answers_and_drains(release):
    launch = engine("onnx").launch(release, SETTINGS, port=free_port(), threads=1)
    assert (launch.probe.proves, launch.probe.width) == ("embedding", WIDTH)
    env = {**os.environ, **dict(launch.env)}
    with subprocess.Popen(launch.argv, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any("listens on" in line for line in process.stderr)
            assert ask(launch.port, launch.probe).ready
            wider = ask(launch.port, Probe(launch.probe.path, launch.probe.body, "embedding", WIDTH + 1))
            assert (wider.ready, wider.lies) == (False, True) and "3 numbers" in wider.why
            status, body = post(launch.port, "storm")
            assert (status, json.loads(body)["data"][0]["embedding"]) == (200, [0.0, 1.0, 0.0])
            assert post(launch.port, "rain")[0] == 500, "its numbers are none"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("settings", "says"),
    [(None, "there is no embedder.json"), (EmbedderSettings(WIDTH + 1, MOST), "no 'embedding' of 4 numbers")],
)
def test_a_folder_that_embeds_something_else_is_one_line(release, tmp_path, settings, says):
    (tmp_path / "model").mkdir()
    for path in [release / "serve.json", *(release / "model").iterdir()]:
        (tmp_path / path.relative_to(release)).write_bytes(path.read_bytes())
    (tmp_path / "model" / "embedder.json").unlink()
    if settings:
        write_settings(tmp_path / "model", settings)
    launch = engine("onnx").launch(tmp_path, SETTINGS, port=free_port(), threads=1)
    done = subprocess.run(  # noqa: PLW1510 - its status is looked at
        launch.argv, env={**os.environ, **dict(launch.env)}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert says in done.stderr and len(done.stderr.splitlines()) == 1
