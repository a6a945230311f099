"""Stage train: a model that has learned, the same one every time, and none that runs somebody's code."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from stage_rig import colour_spec, run_stage, spec_of, write_jsonl
from tokenizers import Tokenizer

from guideway.core.errors import GuidewayError, Refused, SpecError
from guideway.pipeline.stages import train
from guideway.pipeline.stages.examples import Example, Voice
from guideway.pipeline.stages.train.batches import batches, packed
from guideway.pipeline.stages.train.descent import FLOOR, schedule

SHORT = {"steps": 5, "batch": 8}


def shape_of(spec, **more):
    return {"architecture": {**json.loads(json.dumps(dict(train.params(spec)["architecture"]))), **more}}


def weights_of(folder):
    """Every tensor of a model folder, however it is split."""
    return {name: tensor for path in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(path).items()}


def retrain(colours, name, **more):
    spec = colour_spec(train={**train.params(colours.spec), **SHORT, **more})
    return run_stage("train", spec, colours.root, colours.root / name, data=colours.out["data"])


def test_the_loss_falls_and_the_curve_tells_it(colours):
    curve = json.loads((colours.out["train"] / "curve.json").read_text())
    assert curve[-1]["loss"] < 0.5 < 2 < curve[0]["loss"]
    assert curve[-1]["step"] == 150
    assert colours.jobs["train"].one("train_loss").value == curve[-1]["loss"]


def test_a_trained_model_has_no_weight_that_is_not_a_number(colours):
    broken = colours.jobs["train"].one("non_finite_weights")
    weights = weights_of(colours.out["train"])
    assert broken.value == 0 and broken.n >= sum(weight.size for weight in weights.values())


def test_the_output_is_a_hugging_face_folder_without_pickles(colours):
    names = {path.name for path in colours.out["train"].iterdir()}
    assert names == {
        "chat_template.jinja", "config.json", "curve.json", "generation_config.json", "model-small.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_training_twice_gives_the_same_bytes(colours):
    one, two = (retrain(colours, name).out for name in ("again-1", "again-2"))
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_another_seed_gives_another_model(colours):
    one, two = (retrain(colours, f"seed-{seed}", seed=seed).out / "model-small.safetensors" for seed in (1, 2))
    assert one.read_bytes() != two.read_bytes()


def test_no_output_says_where_it_was_made(colours):
    for path in colours.out["train"].iterdir():
        assert str(colours.root).encode() not in path.read_bytes()


def test_training_says_how_far_it_is(colours):
    moved = colours.jobs["train"].moved
    assert moved[-1] == (150, 150) and len(moved) > 50
    assert moved == sorted(moved)


def test_a_name_between_backticks_has_the_same_tokens_wherever_it_stands(colours):
    tokenizer = Tokenizer.from_file(str(colours.out["train"] / "tokenizer.json"))
    sentences = ("`heap_push`", "what is `heap_push`?", "say: `heap_push`, please", "(`heap_push`)")
    inner = set()
    for sentence in sentences:
        tokens = tokenizer.encode(sentence).tokens
        marks = [at for at, token in enumerate(tokens) if token.endswith("`")]
        inner.add(tuple(tokens[marks[0] + 1 : marks[1] + 1]))
    assert len(inner) == 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_its_tokens(colours, text):
    tokenizer = Tokenizer.from_file(str(colours.out["train"] / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_only_the_answer_is_predicted(colours):
    voice = Voice(colours.out["train"])
    row = {"messages": [{"role": "user", "content": "what?"}, {"role": "assistant", "content": "blue"}]}
    example = voice.example(row)
    assert voice.decode(example.ids[example.start :]) == "blue" and example.ids[-1] == voice.end
    assert voice.decode(example.ids[: example.start]) == "what?"


def test_each_answer_of_a_conversation_is_learned_after_all_that_went_before(colours):
    voice = Voice(colours.out["train"])
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    assert [voice.decode(one.ids) for one in voice.every_answer(row)] == ["ab", "abcd"]


def test_data_cannot_smuggle_in_special_tokens(colours):
    voice = Voice(colours.out["train"])
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b<|end|><|user|>c"}]}
    assert voice.example(row).ids.count(voice.end) == 1


def test_text_is_learned_whole_in_full_blocks(tmp_path):
    (tmp_path / "book.txt").write_text("\n\n".join(f"line {n} of the book" * 20 for n in range(30)))
    spec = colour_spec(
        task="completion",
        data={"sources": [{"path": "book.txt"}], "splits": {"rest": {"share": 0.3}}},
        train={**train.params(colour_spec()), "steps": 30},
    )
    data = run_stage("data", spec, tmp_path, tmp_path / "data").out
    job = run_stage("train", spec, tmp_path, tmp_path / "train", data=data)
    assert job.one("train_loss").value < 4


@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=12), max_size=9), st.integers(2, 10))
def test_packing_predicts_every_token_once_in_its_order(texts, block):
    whole = [Example([0, *text, 0], 1) for text in texts]
    blocks = packed(whole, block)
    assert [token for one in blocks for token in one.ids[1:]] == [token for one in whole for token in one.ids[1:]]
    assert all(len(one.ids) <= block for one in blocks)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=200), st.integers(1, 9), st.integers())
def test_one_pass_of_batches_has_every_row_once(lengths, size, seed):
    rows = [Example([number] * length, 1) for number, length in enumerate(lengths)]
    supply, seen = batches(rows, size, seed), []
    while len(seen) < len(rows):
        seen += [example.ids[0] for example in next(supply)]
    assert sorted(seen) == list(range(len(rows)))


def test_rows_of_like_length_come_together():
    rows = [Example([1] * (2 + number % 40), 1) for number in range(640)]
    supply = batches(rows, 16, 7)
    spread = [max(sizes) - min(sizes) for sizes in ([len(one.ids) for one in next(supply)] for _ in range(40))]
    assert sum(spread) / len(spread) < 5


@given(st.integers(1, 500), st.integers(0, 600))
def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_floor(steps, warmup):
    rates = [schedule(step, steps, warmup) for step in range(1, steps + 1)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1]) and rates[peak:] == sorted(rates[peak:], reverse=True)
    assert all(0 < rate <= 1 for rate in rates)
    assert steps < 3 or math.isclose(rates[-1], FLOOR)


def test_a_loss_that_is_no_number_stops_with_the_step(colours):
    with pytest.raises(GuidewayError, match=r"the loss became (nan|inf) at step \d+"):
        retrain(colours, "nan", steps=60, learning_rate=1e18, warmup=0)


def test_a_shape_that_does_not_go_together_is_refused(colours):
    with pytest.raises(GuidewayError, match="33 hidden, 2 heads and 1 kv_heads do not go together"):
        retrain(colours, "odd", **shape_of(colours.spec, hidden=33))


def test_a_context_that_holds_no_row_is_refused(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [{"prompt": f"{n} " + "long " * 50, "response": "a"} for n in range(20)])
    spec = colour_spec(
        data={"sources": [{"path": "rows.jsonl"}]}, train=shape_of(colour_spec(), vocabulary=300, context=16)
    )
    data = run_stage("data", spec, tmp_path, tmp_path / "data").out
    with pytest.raises(GuidewayError, match="no row fits into 16 tokens"):
        run_stage("train", spec, tmp_path, tmp_path / "train", data=data)


# Recipe full


@pytest.fixture
def base(colours, tmp_path):
    """A copy of the trained model, as somebody else's base beside a spec."""
    shutil.copytree(colours.out["train"], tmp_path / "base")
    return tmp_path / "base"


def full(base="base", **more):
    return colour_spec(train={"recipe": "full", "base": base, **SHORT, "learning_rate": 1e-4, **more})


def test_fine_tuning_starts_from_the_base_and_keeps_its_tokenizer(colours, base, tmp_path):
    job = run_stage("train", full(), tmp_path, tmp_path / "tuned", data=colours.out["data"])
    assert (job.out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert (job.out / "chat_template.jinja").read_bytes() == (base / "chat_template.jinja").read_bytes()
    assert job.one("train_loss").value < 1
    before, after = (weights_of(folder) for folder in (base, job.out))
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)
    assert str(tmp_path) not in (job.out / "config.json").read_text()


def test_the_files_of_the_base_are_sources(base, tmp_path):
    names = {path.name for path in train.sources(full(), tmp_path)}
    assert {
        "model-small.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "chat_template.jinja",
    } <= names


def test_weights_as_pickle_are_refused(base, tmp_path):
    (base / "model-small.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(SpecError, match=r"pickle only \(pytorch_model\.bin\)"):
        train.sources(full(), tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_a_base_that_wants_to_run_its_own_code_is_refused(base, tmp_path, name):
    config = json.loads((base / name).read_text())
    (base / name).write_text(json.dumps({**config, "auto_map": {"AutoModel": "theirs.Model"}}))
    with pytest.raises(SpecError, match="code of its own") as refused:
        train.sources(full(), tmp_path)
    assert refused.value.where is not None and refused.value.where.endswith(name)


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (full(base=None), "recipe 'full' needs a base"),
        (full(base="Qwen/Qwen3-0.6B"), "there is no folder 'Qwen/Qwen3-0.6B'"),
        (spec_of(train={"base": "base"}), "recipe 'scratch' has no base"),
    ],
)
def test_a_base_that_cannot_be_meant_is_refused_before_any_work(tmp_path, spec, what):
    with pytest.raises(SpecError, match=what):
        train.sources(spec, tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_base_that_lacks_a_file_is_refused(base, tmp_path, name):
    (base / name).unlink()
    with pytest.raises(SpecError, match=f"the base has no {name}"):
        train.sources(full(), tmp_path)


UNSAFE = {
    "pytorch_model.bin": (b"\x80\x02cos\nsystem\n(X\x01\x00\x00\x00xtR.", "is a pickle that calls os.system"),
    "modeling.py": (b"import os\n", "is code by its name"),
    "chat_template.jinja": (b"{{ ''.__class__ }}", "reaches for '__class__'"),
    "model.safetensors": (b"\x40\0\0\0\0\0\0\0{}", "claims a header of 64 bytes"),
}


@pytest.mark.catalogue("B8")
@pytest.mark.parametrize("name", UNSAFE)
def test_a_base_with_an_unsafe_file_is_refused_before_anything_of_it_is_loaded(base, tmp_path, name, monkeypatch):
    data, what = UNSAFE[name]
    (base / name).write_bytes(data)
    monkeypatch.setitem(sys.modules, "guideway.pipeline.stages.train.learn", None)  # importing it would fail
    with pytest.raises(Refused) as refused:
        run_stage("train", full(), tmp_path, tmp_path / "tuned", data=tmp_path)
    assert refused.value.where == f"base/{name}" and what in refused.value.what and refused.value.try_this
    assert list((tmp_path / "tuned").iterdir()) == []


def test_a_base_with_broken_weights_is_one_clear_line(colours, base, tmp_path):
    (base / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(GuidewayError, match="the base cannot be loaded"):
        run_stage("train", full(), tmp_path, tmp_path / "tuned", data=colours.out["data"])


def test_chat_needs_a_base_with_a_chat_template(colours, base, tmp_path):
    (base / "chat_template.jinja").unlink()
    with pytest.raises(GuidewayError, match="the base has no chat template"):
        run_stage("train", full(), tmp_path, tmp_path / "tuned", data=colours.out["data"])


def test_importing_the_stages_loads_no_heavy_library():
    heavy = "{'torch', 'transformers', 'numpy', 'onnx', 'onnxruntime', 'tokenizers'}"
    code = f"import sys, guideway.pipeline.stages; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
