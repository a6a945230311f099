"""Stage train: a model that has learned, the same one every time, and none that runs somebody's code."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import subprocess
import sys
from collections import Counter
from xml.etree import ElementTree

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from stage_rig import STAGES, colour_rows, colour_spec, run_stage, spec_of, write_jsonl
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from guideway.core.errors import GuidewayError, Refused, SpecError
from guideway.core.spec import Train
from guideway.pipeline.stages import train
from guideway.pipeline.stages.examples import Example, Voice, rows_of
from guideway.pipeline.stages.train import language
from guideway.pipeline.stages.train.batches import batches, packed, shuffled
from guideway.pipeline.stages.train.descent import FLOOR, schedule
from guideway.pipeline.stages.train.loop import Learned, Point, Validation
from guideway.pipeline.stages.train.mixture import Mixture, Part, turns
from guideway.pipeline.stages.train.report import report
from guideway.pipeline.stages.train.rows import Rows
from guideway.pipeline.stages.train.samples import Sample

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
        "model.safetensors.index.json", "report.html", "tokenizer.json", "tokenizer_config.json",
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


def test_what_a_training_needs_of_the_machine_is_evidence(colours):
    assert 0 < colours.jobs["train"].one("resource_use_share").value < 1


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


@given(st.integers(1, 60), st.integers(2, 20), st.integers())
def test_shuffled_batches_are_full_and_every_pass_has_every_row_once(count, size, seed):
    supply, seen = shuffled(range(count), size, seed), []
    while len(seen) < 3 * count:
        batch = next(supply)
        assert len(batch) == min(size, count)
        seen += batch
    passes = [sorted(seen[at * count : (at + 1) * count]) for at in range(3)]
    assert passes == [list(range(count))] * 3


def test_in_shuffled_batches_a_row_meets_others_in_every_pass():
    supply, met = shuffled(range(64), 8, 7), set()
    for _ in range(5 * 8):
        batch = next(supply)
        met |= {*batch} if 0 in batch else set()
    assert len(met) > 20, "sorted by length it would meet the same seven in every pass"


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
    shutil.copytree(colours.out["train"], tmp_path / "base", ignore=shutil.ignore_patterns("report.html"))
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


# Several sources


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(1, 500))
def test_no_source_is_ever_off_its_share_by_more_than_a_turn(weights, count):
    given = Counter(itertools.islice(turns(weights), count))
    assert all(
        abs(given[number] - count * one / sum(weights)) < max(2, len(weights)) for number, one in enumerate(weights)
    )


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory):
    """Two files of which one has nine tenths of the rows, and their data stage."""
    root = tmp_path_factory.mktemp("two")
    rows = colour_rows()
    write_jsonl(root / "many.jsonl", rows[:86])
    write_jsonl(root / "few.jsonl", rows[86:])
    sources = [{"path": "many.jsonl", "weight": 1}, {"path": "few.jsonl", "weight": 3}]
    spec = colour_spec(data={"sources": sources, "splits": {}})
    return spec, root, run_stage("data", spec, root, root / "data").out


def mixed(two_sources, name, **more):
    spec, root, data = two_sources
    spec = msgspec.structs.replace(spec, train=msgspec.structs.replace(spec.train, steps=20, batch=8, **more))
    return run_stage("train", spec, root, root / name, data=data)


def test_weights_decide_from_where_batches_come_and_the_evidence_says_so(two_sources):
    job = mixed(two_sources, "weighted")
    assert [job.one("mixture_share", slice=name).value for name in ("many.jsonl", "few.jsonl")] == [0.25, 0.75]
    assert "batches from many.jsonl 25.0%, few.jsonl 75.0%" in job.facts


def test_a_mixture_gives_the_same_bytes_every_time(two_sources):
    one, two = (mixed(two_sources, name).out / "model-small.safetensors" for name in ("mix-1", "mix-2"))
    assert one.read_bytes() == two.read_bytes()


def test_weights_train_anew_and_leave_the_data_as_it_is(two_sources):
    spec = two_sources[0]
    plain = colour_spec(data={"sources": [{"path": "many.jsonl"}, {"path": "few.jsonl"}], "splits": {}})
    assert STAGES["data"].params(plain) == STAGES["data"].params(spec)
    assert train.params(plain) != train.params(spec)


def test_a_source_with_a_weight_and_no_row_is_refused():
    with pytest.raises(GuidewayError, match=r"no training row comes from 'b\.jsonl'"):
        Mixture([Part("a.jsonl", 1.0), Part("b.jsonl", 1.0)], {0: [Example([1, 2], 1)]})


# Validation


def test_rows_held_out_are_learned_by_nobody_and_bear_no_known_prompt(colours):
    rows = Rows(colours.out["data"], msgspec.convert({"validation": {"share": 0.2}}, Train))
    held, learned = [row["messages"][0] for row in rows.held], [row["messages"][0] for row in rows.learned()]
    assert len(held) == round(0.2 * (len(held) + len(learned))) > 5
    assert not any(one in learned for one in held)


def test_which_rows_are_held_out_depends_on_no_order(tmp_path):
    rows = [{"text": f"row {number}"} for number in range(50)]
    for name, some in (("one", rows), ("two", rows[::-1])):
        write_jsonl(tmp_path / name / "train.jsonl", some)
    one, two = (
        Rows(tmp_path / name, msgspec.convert({"validation": {"share": 0.3}}, Train)) for name in ("one", "two")
    )
    assert len(one.held) == 15 and one.held == two.held[::-1]


def test_a_split_can_be_what_training_is_watched_by(colours):
    job = retrain(colours, "watched", validation={"split": "unseen", "rows": 7})
    assert job.one("validation_loss", slice="unseen").n == 7
    assert json.loads((job.out / "curve.json").read_text())[-1]["validation"]["rows"] == 7


def test_the_validation_of_the_kept_weights_is_evidence_with_its_interval(colours):
    fact = colours.jobs["train"].one("validation_loss", slice="validation")
    last = json.loads((colours.out["train"] / "curve.json").read_text())[-1]["validation"]
    assert fact.value == last["loss"] and fact.n == last["rows"] == 4
    assert fact.interval.low < fact.value < fact.interval.high


def test_validation_that_takes_every_row_is_refused(colours):
    with pytest.raises(GuidewayError, match="nothing is left to train on"):
        retrain(colours, "all-held", validation={"share": 1.0})


def test_the_loss_row_by_row_sums_to_the_loss_of_the_batch(colours):
    model = AutoModelForCausalLM.from_pretrained(colours.out["train"])
    voice = Voice(colours.out["train"])
    some = [voice.example(row) for row in itertools.islice(rows_of(colours.out["data"] / "train.jsonl"), 9)]
    with torch.no_grad():
        total, count = language.loss(model, some)
    each = language.row_losses(model, some, 4)
    assert count == sum(each.tokens) and float(total) == pytest.approx(sum(each.sums), rel=1e-5)


def test_the_report_needs_nothing_else_and_shows_losses_and_answers(colours):
    page = (colours.out["train"] / "report.html").read_text(encoding="utf-8")
    tree = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    lines = [one.get("points").split() for one in tree.iter("polyline")]
    curve = json.loads((colours.out["train"] / "curve.json").read_text())
    assert [len(line) for line in lines] == [len(curve), sum("validation" in point for point in curve)]
    assert "src=" not in page and "href=" not in page and "<script" not in page
    assert f"{curve[-1]['validation']['loss']:.4f}" in page and "训练报告" in page
    last = page[page.rindex("<tbody>") :]
    assert re.search(r"<td class=.number.>150</td><td>(\w+)</td>.*?正确</td><td>\1</td>", last, re.DOTALL)


def test_what_rows_say_is_only_text_in_the_report():
    bad = "<script>alert(1)</script>"
    point = Point(1, 2.0, 0.1, Validation(1.0, None, 1, (bad,)))
    learned = Learned((point,), 1, 1, 0, ())
    page = report(Train(), learned, [Sample(bad, bad, [1])], 10)
    assert "<script" not in page and page.count("&lt;script&gt;") == 3


def test_a_report_without_validation_says_so():
    page = report(Train(), Learned((Point(1, 2.0, 0.1), Point(2, 1.0, 0.1)), 2, 2, 0, ()), [], 10)
    assert "No row was held out" in page and "Answers" not in page


def test_the_curve_does_not_repeat_what_rows_say(colours):
    assert "samples" not in (colours.out["train"] / "curve.json").read_text()
