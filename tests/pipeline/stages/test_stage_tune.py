"""Stage tune: real trials of a small model, what they leave, and how training takes it up."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from multiprocessing import forkserver
from pathlib import Path

import msgspec
import pytest
from classify_rig import TRAIN, classify_spec, make_project
from stage_rig import FakeJob, colour_spec, read_jsonl, write_jsonl

from guideway.core.errors import GuidewayError
from guideway.core.spec import Train, Tune
from guideway.pipeline.stages import choose, data, package, stages_for, train, tune
from guideway.pipeline.stages.tune.rows import hold_out

pytestmark = pytest.mark.thorough

SEARCH = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "batch": {"choices": [8, 16]},
    "architecture.layers": {"low": 1, "high": 2, "step": 1},
}


def tuned_spec(colours, **more):
    plain = {**train.params(colours.spec), "steps": 20, "learning_rate": 1e-4, "warmup": 2}
    asked = {"search": SEARCH, "trials": 5, "parallel": 2, "steps": 10, "seed": 3, **more}
    return colour_spec(train=plain, tune=asked)


def run_tune(colours, spec, name, stage=tune, **inputs) -> FakeJob:
    job = FakeJob(dict(stage.params(spec)), inputs or {"data": colours.out["data"]}, colours.root, colours.root / name)
    stage.run(job)
    return job


@pytest.fixture(scope="session")
def searched(colours) -> FakeJob:
    """One real search over the colours."""
    forkserver._forkserver._stop()  # one that other tests started has not imported what trials need
    return run_tune(colours, tuned_spec(colours), "tune")


def test_a_search_leaves_its_trials_its_best_and_a_report(searched):
    assert {path.name for path in searched.out.iterdir()} == {
        "best.json", "trials.jsonl", "report.html", "report.zh.html",
    }  # fmt: skip
    trials, best = read_jsonl(searched.out / "trials.jsonl"), json.loads((searched.out / "best.json").read_text())
    assert [one["number"] for one in trials] == [0, 1, 2, 3, 4]
    assert trials[0]["parameters"] == {"learning_rate": 1e-4, "batch": 16, "architecture.layers": 2}
    losses = {one["number"]: one["loss"] for one in trials if one["state"] == "complete"}
    assert best["trial"] == min(losses, key=losses.get)
    assert best["parameters"] == trials[best["trial"]]["parameters"]
    assert all(len(one["curve"]) == 10 for one in trials if one["state"] == "complete")


def test_the_gain_over_the_defaults_is_evidence_with_its_interval(searched):
    gain = searched.one("tuning_gain")
    assert gain.unit == "nats/token" and gain.interval.low < gain.value < gain.interval.high and gain.n > 0
    best = json.loads((searched.out / "best.json").read_text())
    assert best["outcome"] == "better" and best["taken"] and gain.value == best["gain"]["value"] > 0
    assert len(best["gain"]["pairs"]) == 3


def test_trials_are_counted_as_evidence(searched):
    assert searched.one("tuning_trials").value == 5
    counted = json.loads((searched.out / "best.json").read_text())["trials"]
    assert searched.one("tuning_pruned").value == counted["pruned"]
    assert searched.one("tuning_failed").value == counted["failed"] == 0


def test_a_search_says_how_far_it_is(searched):
    done = [one for one, _ in searched.moved]
    assert done == sorted(done) and len(done) > 20
    assert searched.moved[-1] == (170.0, 170.0)  # 5 trials of 10 steps, then 6 trainings of 20


def test_a_search_with_one_trial_at_a_time_gives_the_same_bytes_again(colours):
    spec = tuned_spec(colours, trials=2, parallel=1, steps=4)
    one, two = (run_tune(colours, spec, name).out for name in ("tune-1", "tune-2"))
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_the_choice_is_the_best_only_where_its_gain_is_shown(colours, searched, tmp_path):
    job = run_tune(colours, tuned_spec(colours), "choose", choose, tune=searched.out)
    best = json.loads((searched.out / "best.json").read_text())
    assert json.loads((job.out / choose.FILE).read_text()) == best["parameters"]
    (tmp_path / "best.json").write_text(json.dumps({**best, "taken": False}))
    job = run_tune(colours, tuned_spec(colours), "choose-none", choose, tune=tmp_path)
    assert json.loads((job.out / choose.FILE).read_text()) == {} and job.facts == ["the defaults stay"]


def test_training_takes_the_parameters_that_were_chosen(colours, tmp_path):
    (tmp_path / choose.FILE).write_text('{"architecture.layers": 1, "learning_rate": 0.02}')
    spec = tuned_spec(colours)
    job = run_tune(colours, spec, "taken", train, data=colours.out["data"], choose=tmp_path)
    assert json.loads((job.out / "config.json").read_text())["num_hidden_layers"] == 1
    curve = json.loads((job.out / "curve.json").read_text())
    assert max(point["rate"] for point in curve) == pytest.approx(0.02)


def test_the_package_says_of_the_trained_model_which_search_it_comes_from(colours, in_folds, tmp_path):
    spec = colour_spec()
    for name in ("guard", "choose"):
        (tmp_path / name).mkdir()
    (tmp_path / "choose" / choose.FILE).write_text('{"batch": 8}')
    inputs = {"data": colours.out["data"], "train": colours.out["train"], "compress": colours.out["compress"]}
    job = run_tune(
        colours,
        spec,
        "package",
        package,
        **inputs,
        guard=tmp_path / "guard",
        tune=in_folds.out,
        choose=tmp_path / "choose",
    )
    assert job.one("tuning_trials", about="train").source == "tune"
    for metric in ("tuning_gain", "tuning_loss"):
        assert job.one(metric, about="train").interval == in_folds.one(metric).interval
    assert job.one("tuning_folds", about="train").value == 3
    assert json.loads((job.out / "tuned.json").read_text()) == {"batch": 8}


def test_only_a_spec_with_a_search_has_its_stages(colours):
    assert "tune" not in stages_for(colours.spec) and "choose" not in stages_for(colours.spec)
    with_tune = list(stages_for(tuned_spec(colours)))
    assert with_tune.index("data") < with_tune.index("tune") < with_tune.index("choose") < with_tune.index("train")


# Folds


@pytest.fixture(scope="session")
def in_folds(colours) -> FakeJob:
    """A real search whose trials are cross-validated."""
    forkserver._forkserver._stop()
    return run_tune(colours, tuned_spec(colours, trials=3, folds=3, validation=0.2), "tune-folds")


def test_a_search_in_folds_says_how_many_and_how_sure_the_loss_of_its_best_is(in_folds):
    best = json.loads((in_folds.out / "best.json").read_text())
    trials = {one["number"]: one for one in read_jsonl(in_folds.out / "trials.jsonl")}
    kept, loss = trials[best["trial"]], in_folds.one("tuning_loss")
    assert in_folds.one("tuning_folds").value == 3 == len(kept["folds"]) and best["folds"]["folds"] == kept["folds"]
    assert loss.value == pytest.approx(kept["loss"]) and loss.interval.low < loss.value < loss.interval.high
    assert list(kept["curve"]) == ["1", "2", "3"] and len(set(kept["folds"])) == 3
    assert in_folds.one("tuning_gain").n > 0 and len(best["gain"]["pairs"]) == 3
    assert in_folds.moved[-1] == (210.0, 210.0)  # 3 trials of 3 folds of 10 steps, then 6 trainings of 20
    for name, words in (("report.html", "Every trial was trained 3 times"), ("report.zh.html", "训练 3 遍")):
        assert words in (in_folds.out / name).read_text(encoding="utf-8")


def test_a_search_without_folds_has_no_evidence_of_any(searched):
    assert not [name for name, _ in searched.heard if name in ("tuning_folds", "tuning_loss")]


# Rows held out


def test_rows_that_judge_are_training_rows_that_no_trial_learns(colours, tmp_path):
    spec = tuned_spec(colours)
    counts = hold_out(colours.out["data"], tmp_path, spec.tune)
    parts = {
        name: {row["id"] for row in read_jsonl(tmp_path / f"{name}.jsonl")} for name in ("train", "judging", "gain")
    }
    assert tuple(len(part) for part in parts.values()) == counts
    all_rows = {row["id"] for row in read_jsonl(colours.out["data"] / "train.jsonl")}
    assert set.union(*parts.values()) == all_rows and sum(map(len, parts.values())) == len(all_rows)
    assert counts.judging == counts.gain == round(0.1 * len(all_rows))


def test_another_seed_holds_out_other_rows(colours, tmp_path):
    found = []
    for seed in (1, 2, 1):
        hold_out(colours.out["data"], tmp_path, Tune(search={}, seed=seed))
        found.append((tmp_path / "judging.jsonl").read_bytes())
    assert found[0] == found[2] != found[1]


def test_too_few_rows_to_hold_any_out_are_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    rows = [{"id": str(n), "messages": [{"role": "user", "content": str(n)}]} for n in range(9)]
    write_jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(GuidewayError, match="9 training rows are too few to hold some out for tuning"):
        hold_out(tmp_path, tmp_path / "rows", Tune(search={}))


# The report


class Links(HTMLParser):
    """Everything that a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]


@pytest.mark.parametrize(
    ("name", "words"), [("report.html", "Gain over the defaults"), ("report.zh.html", "相对默认值的收益")]
)
def test_the_report_needs_no_other_file_and_runs_nothing(searched, name, words):
    text = (searched.out / name).read_text(encoding="utf-8")
    page = Links()
    page.feed(text)
    assert page.found == [] and "script" not in page.tags
    assert words in text
    assert page.tags.count("svg") == 1 + 1 + len(SEARCH) + 1  # gain, history, one for each key, all keys at once
    assert text.count("<polyline") >= 2 and text.count("<circle") >= 5 + 3 * 5
    assert "learning_rate" in text and re.search(r"default-src 'none'", text)


def test_a_base_that_is_unsafe_is_refused_before_the_search(colours, tmp_path):
    spec = msgspec.structs.replace(tuned_spec(colours), train=Train(recipe="full", base="base"))
    shutil.copytree(colours.out["train"], tmp_path / "base")
    (tmp_path / "base" / "modeling.py").write_text("import os")
    job = FakeJob(dict(tune.params(spec)), {"data": colours.out["data"]}, tmp_path, tmp_path / "out")
    with pytest.raises(GuidewayError, match="is code by its name"):
        tune.run(job)


def test_what_a_search_depends_on_names_each_key(colours):
    names = set(tune.params(tuned_spec(colours)))
    assert {"tune.trials", "tune.search", "train.steps", "train.seed"} <= names
    assert tune.sources(tuned_spec(colours), Path()) == ()


@pytest.mark.parametrize("folds", [0, 2])
def test_a_classifier_is_searched_by_its_own_training(tmp_path, folds):
    make_project(tmp_path)
    asked = {"search": {"learning_rate": {"choices": [3e-3, 1e-6]}}, "sampler": "grid", "steps": 6, "folds": folds}
    spec = classify_spec(tune=asked, train={**TRAIN, "steps": 12, "learning_rate": 1e-6, "validation": {}})
    made = FakeJob(dict(data.params(spec)), {}, tmp_path, tmp_path / "data")
    data.run(made)
    job = FakeJob(dict(tune.params(spec)), {"data": made.out}, tmp_path, tmp_path / "tune")
    tune.run(job)
    best = json.loads((job.out / "best.json").read_text())
    assert best["trials"]["complete"] == 2 and best["parameters"] == {"learning_rate": 3e-3}
    assert job.one("tuning_gain").unit == "nats/row" and best["gain"]["n"] >= 1
    assert [fact.unit for name, fact in job.heard if name == "tuning_loss"] == ["nats/row"] * bool(folds)
