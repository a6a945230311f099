"""Stage compress: the same bytes every time, ready for plain onnxruntime, close to the trained model and measured."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from stage_rig import colour_spec, run_stage

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.compress.distance import distance
from guideway.pipeline.stages.examples import Example
from guideway.pipeline.stages.formats.onnx import export
from guideway.pipeline.stages.models import Compressed, Trained
from guideway.replica.onnx_backend import FIRST


class Table:
    """A model whose logits are the same everywhere."""

    def __init__(self, logits):
        self._row = np.array(logits, dtype=np.float32)

    def logits(self, ids):
        return np.tile(self._row, (len(ids), 1))

    def answers(self, prompts, max_tokens, stop_ids):
        return [[] for _ in prompts]


def test_the_export_holds_all_that_a_server_needs(colours):
    names = {path.name for path in colours.out["compress"].iterdir()}
    assert names == {
        "chat_template.jinja", "genai_config.json", "model.onnx", "model.onnx.data", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_two_exports_are_the_same_bytes_and_say_nothing_of_where_they_were_made(colours, tmp_path, precision):
    (tmp_path / "elsewhere").mkdir()
    one, two = tmp_path / "one", tmp_path / "elsewhere" / "two"
    for out in (one, two):
        out.mkdir()
        export(colours.out["train"], out, precision)
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}
    for path in one.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
        assert str(colours.root).encode() not in path.read_bytes()


def test_int8_stores_the_matrices_in_eight_bits(colours):
    model = onnx.load(colours.out["compress"] / "model.onnx", load_external_data=False)
    packed = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    assert packed and all(one.i == 8 for node in packed for one in node.attribute if one.name == "bits")


def test_the_export_lets_the_server_choose_what_is_scored(colours):
    model = onnx.load(colours.out["compress"] / "model.onnx", load_external_data=False)
    assert FIRST in [one.name for one in model.graph.input] and FIRST in [one.name for one in model.graph.initializer]


def test_the_tokenizer_and_the_template_are_the_trained_ones(colours):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (colours.out["compress"] / name).read_bytes() == (colours.out["train"] / name).read_bytes()


def test_the_loss_of_quality_is_small_and_has_an_interval(colours):
    job = colours.jobs["compress"]
    kl, flips = job.one("kl_to_source"), job.one("top1_flips")
    assert 0 < kl.value < 0.02 and kl.interval.low <= kl.value <= kl.interval.high and kl.interval.method == "bootstrap"
    assert flips.value <= 0.05 and flips.interval.method == "wilson"
    assert kl.source == flips.source == "train" and kl.n == flips.n > 20
    assert job.one("parity_agreement").value == pytest.approx(1 - flips.value)
    assert 0 < job.one("parity_difference").value < 1


def test_fp32_answers_as_the_trained_model_does(colours, tmp_path):
    export(colours.out["train"], tmp_path, "fp32")
    trained, exported = Trained(colours.out["train"]), Compressed(tmp_path)
    ids = [5, 9, 70, 71, 300, 12, 4]
    assert np.allclose(trained.logits(ids), exported.logits(ids), atol=1e-3)
    prompts = [[1, number, 3] for number in range(5, 45)]
    assert trained.answers(prompts, 6, {0}) == exported.answers(prompts, 6, {0})


def test_compressing_twice_leaves_the_same_evidence(colours):
    spec, data, trained = colours.spec, colours.out["data"], colours.out["train"]
    again = run_stage("compress", spec, colours.root, colours.root / "compress-again", data=data, train=trained)
    assert again.heard == colours.jobs["compress"].heard


def test_int4_is_smaller_than_int8(colours):
    spec, data, trained = colour_spec(compress={"precision": "int4"}), colours.out["data"], colours.out["train"]
    small = run_stage("compress", spec, colours.root, colours.root / "int4", data=data, train=trained)
    assert small.one("model_bytes").value < colours.jobs["compress"].one("model_bytes").value


def test_what_the_builder_cannot_do_is_one_clear_line(colours, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for path in colours.out["train"].iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"], "model_type": "bert"}))
    with pytest.raises(GuidewayError, match="cannot be exported to int8") as refused:
        export(source, tmp_path / "out", "int8")
    assert "\n" not in str(refused.value)


def test_a_model_is_no_distance_from_itself():
    found = distance(Table([1, 2, 3]), Table([1, 2, 3]), Example([0, 1, 2, 0], 2), 100)
    assert found == (0.0, 0, 2, 0.0)


def test_the_distance_is_the_divergence_at_the_predicted_tokens():
    found = distance(Table([0, np.log(3)]), Table([np.log(3), 0]), Example([0, 1, 1, 0], 1), 100)
    assert found.divergence == pytest.approx(3 * 0.5 * np.log(3), rel=1e-5)
    assert (found.flips, found.positions) == (3, 3)
    assert found.largest == pytest.approx(0.5)


def test_no_more_positions_are_looked_at_than_asked_for():
    assert distance(Table([1, 2]), Table([1, 2]), Example([0] * 10, 1), 4).positions == 4


def test_logits_that_are_no_numbers_stop_the_comparison():
    with pytest.raises(GuidewayError, match="NaN or infinite"):
        distance(Table([1, 2]), Table([1, np.nan]), Example([0, 1, 0], 1), 10)
