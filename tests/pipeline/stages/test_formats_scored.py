"""A graph scores from the token on that it is told, and all of them where nobody says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from guideway.pipeline.stages.formats.scored import choose_scored
from guideway.replica.onnx_backend import FIRST

HIDDEN = np.arange(12, dtype=np.float32).reshape(1, 4, 3)
VOCABULARY = np.array([[1, 0], [0, 1], [1, 1]], np.float32)


def graph(path: Path, nodes: list[onnx.NodeProto]) -> Path:
    """A model of *nodes* from ``hidden`` to ``logits``."""
    given = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [1, "n", 3])
    left = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "n", 2])
    made = helper.make_graph(nodes, "g", [given], [left], [numpy_helper.from_array(VOCABULARY, "vocabulary")])
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), str(path))
    return path


def scores(path: Path, first: int | None = None) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    asked = {} if first is None else {FIRST: np.array([first], np.int64)}
    (found,) = session.run(["logits"], {"hidden": HIDDEN, **asked})
    return np.asarray(found)


@pytest.mark.parametrize("after", [[], [helper.make_node("Tanh", ["wide"], ["logits"])]])
def test_from_the_token_on_that_is_asked_for(tmp_path: Path, after: list[onnx.NodeProto]) -> None:
    product = helper.make_node("MatMul", ["hidden", "vocabulary"], ["wide" if after else "logits"])
    path = graph(tmp_path / "model.onnx", [product, *after])
    before = scores(path)
    assert choose_scored(path)
    assert np.array_equal(scores(path), before) and before.shape == (1, 4, 2)
    assert np.array_equal(scores(path, first=3), before[:, 3:])


def test_a_graph_that_ends_otherwise_stays_as_it_is(tmp_path: Path) -> None:
    path = graph(tmp_path / "model.onnx", [helper.make_node("Slice", ["hidden", "a", "b", "c"], ["logits"])])
    before = path.read_bytes()
    assert not choose_scored(path)
    assert path.read_bytes() == before
