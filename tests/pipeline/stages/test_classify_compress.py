"""Stage compress for a classifier: the export says what its source says, and the threshold comes from validation."""

from __future__ import annotations

import numpy as np
import pytest
from classify_rig import TRAIN, classify_spec, make_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_rig import run_stage

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages.classify import export as exporting
from guideway.pipeline.stages.classify.threshold import choose_threshold
from guideway.replica.classifier import OnnxClassifier, TextReader, padded, read_settings, softmax


def compress_again(intents, name, **parts):
    inputs = {"data": intents.out["data"], "train": intents.out["train"]}
    return run_stage("compress", classify_spec(**parts), intents.root, intents.root / name, **inputs)


def test_the_export_to_fp32_says_what_its_source_says(intents):
    job = compress_again(intents, "fp32", compress={"precision": "fp32"})
    assert job.one("kl_to_source").value < 1e-6
    assert job.one("top1_flips").value == 0.0


def test_int8_is_small_and_close(intents):
    job = intents.jobs["compress"]
    divergence, flips = job.one("kl_to_source"), job.one("top1_flips")
    assert divergence.interval.low <= divergence.value <= divergence.interval.high < 0.1
    assert (flips.unit, flips.n, flips.source) == ("share", 16, "train")
    assert any("best classes changed on 16 rows" in fact for fact in job.facts)


def test_exporting_twice_gives_the_same_bytes(intents):
    again = compress_again(intents, "compressed-again")
    before = {path.name: path.read_bytes() for path in intents.out["compress"].iterdir()}
    after = {path.name: path.read_bytes() for path in again.out.iterdir()}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


def test_the_threshold_is_set_by_validation_rows_only(intents):
    written = read_settings(intents.out["compress"])
    assert written.out_of_scope == "oos"
    assert 0.0 < written.threshold < 1.0
    found = intents.jobs["compress"].one("threshold", slice="val")
    assert (found.value, found.n) == (written.threshold, 8)


def test_without_validation_nothing_is_refused_and_a_fact_says_so(intents):
    job = compress_again(intents, "blind", train=TRAIN | {"validation": {"split": ""}})
    assert read_settings(job.out).threshold == 0.0
    assert any("no threshold" in fact for fact in job.facts)


def test_an_export_that_disagrees_with_its_source_is_refused(intents, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(GuidewayError, match="its export differs by"):
        exporting.export(intents.out["train"], tmp_path, "fp32")


def test_texts_answer_alike_alone_and_in_company(intents):
    model = OnnxClassifier(intents.root / "out" / "compress")
    texts = ["will it rain in rome today", "please play some jazz music", "show the limit of my account", "x"]
    ids = [model.reader.encode(text) for text in texts]
    together = model.probabilities(ids)
    alone = np.concatenate([model.probabilities([one]) for one in ids])
    assert np.abs(together - alone).max() < 0.05
    assert [model.settings.labels[row.argmax()] for row in together[:3]] == ["weather", "music", "money"]


@pytest.mark.parametrize("kind", ["DistilBert", "Roberta"])
def test_other_encoders_can_be_exported_too(tmp_path, kind):
    import torch
    import transformers

    make_encoder(tmp_path / "base", ["a b"])
    shape = {"DistilBert": {"dim": 32, "hidden_dim": 64, "n_layers": 1, "n_heads": 2}}.get(
        kind,
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "pad_token_id": 0,
        },
    )
    torch.manual_seed(3)
    config = getattr(transformers, f"{kind}Config")(vocab_size=60, max_position_embeddings=40, **shape)
    encoder = getattr(transformers, f"{kind}Model")(config).eval()
    model = exporting.EncoderClassifier(encoder, 3).eval()
    for features in (False, True):
        exporting._trace(model, tmp_path / "model.onnx", features)
        exporting._check(model, tmp_path / "model.onnx", features)


def test_a_text_that_looks_like_a_special_token_is_only_text(intents):
    reader = TextReader(intents.out["train"], 10)
    assert 3 not in reader.encode("[SEP] rain")[1:-1]
    assert len(reader.encode("rain " * 50)) == 10


@settings(max_examples=40)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.lists(st.floats(0.0, 1.0), max_size=30))
def test_no_other_threshold_tells_the_two_kinds_of_rows_better_apart(inside, outside):
    inside, outside = np.array(inside), np.array(outside)

    def good(threshold):
        return (inside >= threshold).mean() + (outside < threshold).mean()

    chosen = choose_threshold(inside, outside)
    if len(outside):
        assert all(good(chosen) >= good(cut) - 1e-9 for cut in np.linspace(0, 1, 101))
    else:
        assert (inside >= chosen).mean() >= 0.95


def test_padding_stands_on_the_right_and_probabilities_sum_to_one():
    ids, mask = padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert softmax(np.array([[1e4, 0.0], [0.0, 0.0]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]
