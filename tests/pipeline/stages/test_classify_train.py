"""Stage train for a classifier: it learns, repeats itself, and says in one line why it cannot."""

from __future__ import annotations

import json
import shutil

import pytest
from classify_rig import TRAIN, classify_spec, labelled_rows
from stage_rig import run_stage

from guideway.core.errors import GuidewayError
from guideway.pipeline.stages import train
from guideway.pipeline.stages.classify.model import load_classifier, probabilities
from guideway.pipeline.stages.classify.rows import cases_of
from guideway.replica.classifier import TextReader, read_settings


@pytest.fixture
def trained(intents):
    return intents.jobs["train"]


def train_again(intents, name, **changes):
    spec = classify_spec(train=TRAIN | changes)
    return run_stage("train", spec, intents.root, intents.root / name, data=intents.out["data"])


def test_it_learns_what_the_rows_say(trained):
    settings = read_settings(trained.out)
    rows = [row for row in labelled_rows() if row["part"] == "test" and row["label"] != "oos"]
    cases = cases_of(rows, TextReader(trained.out, settings.max_tokens), settings.labels)
    found = probabilities(load_classifier(trained.out), cases)
    assert [settings.labels[row.argmax()] for row in found] == [row["label"] for row in rows]


def test_what_is_out_of_scope_is_not_learnt(trained):
    assert read_settings(trained.out).labels == ("money", "music", "weather")
    assert trained.one("train_loss").unit == "nats/row"


def test_training_twice_gives_the_same_bytes(intents, trained):
    again = train_again(intents, "again")
    files = {path.name: path.read_bytes() for path in trained.out.iterdir()}
    assert files == {path.name: path.read_bytes() for path in again.out.iterdir()}
    assert train_again(intents, "other", seed=8, steps=2).one("train_loss") != trained.one("train_loss")


def test_the_tokenizer_says_how_long_a_text_may_be_here(trained):
    config = json.loads((trained.out / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == read_settings(trained.out).max_tokens == 62


def test_only_safetensors_and_json_are_written(trained):
    assert {path.suffix for path in trained.out.iterdir()} == {".safetensors", ".json"}


def test_the_curve_has_the_validation_on_the_split(trained):
    curve = json.loads((trained.out / "curve.json").read_text())
    assert curve[-1]["validation"]["rows"] == 6, "rows that are out of scope have no class to be judged by"


def test_class_weights_make_a_rare_class_count_as_much(tmp_path):
    from guideway.pipeline.stages.classify.learn import _class_weights
    from guideway.pipeline.stages.classify.rows import Case

    weights = _class_weights([Case([1], target, "", "") for target in (0, 0, 0, 1)], 2)
    assert weights.tolist() == pytest.approx([4 / 6, 2.0])


def test_a_base_that_is_no_encoder_is_one_clear_line(intents, tmp_path):
    shutil.copytree(intents.root / "base", tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps({**config, "model_type": "no-such-model"}))
    with pytest.raises(GuidewayError, match="the base cannot be used") as refused:
        run_stage("train", classify_spec(), tmp_path, tmp_path / "out", data=intents.out["data"])
    assert "\n" not in str(refused.value)


def test_a_language_model_is_no_encoder(intents, tmp_path):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    shutil.copytree(intents.root / "base", tmp_path / "base")
    torch.manual_seed(1)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=300, **shape)).save_pretrained(tmp_path / "base")
    with pytest.raises(GuidewayError, match="LlamaModel is no encoder"):
        run_stage("train", classify_spec(), tmp_path, tmp_path / "out", data=intents.out["data"])


def test_the_task_is_in_the_key_of_a_classifier_only():
    assert train.params(classify_spec())["task"] == "classify"
    assert "task" not in train.params(classify_spec(task="chat", data={"sources": [{"path": "x"}]}))
