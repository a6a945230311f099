"""Stage evaluate for a classifier: true figures with intervals, against a baseline on the same rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from classify_rig import TRAIN, classify_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_rig import run_stage

from guideway.core.errors import SpecError
from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.classify import scores
from guideway.pipeline.stages.classify.baseline import cross_validate

BOTH = ("train", "compress")


def evaluate_again(intents, name, **parts):
    inputs = {need: intents.out[need] for need in evaluate.needs}
    return run_stage("evaluate", classify_spec(**parts), intents.root, intents.root / name, **inputs)


def test_every_split_and_both_models_have_every_figure_with_an_interval(intents):
    job = intents.jobs["evaluate"]
    for about in BOTH:
        for metric in (
            "accuracy", "error_rate", "macro_f1", "log_loss", "calibration_error", "baseline_accuracy",
            "baseline_error_rate", "accuracy_over_baseline", "mcnemar_p", "out_of_scope_recall", "in_scope_refused",
        ):  # fmt: skip
            found = job.one(metric, about, "test")
            assert found.interval.low <= found.value <= found.interval.high
            assert found.n == {"out_of_scope_recall": 2}.get(metric, 6)


def test_a_model_that_learned_knows_texts_it_never_saw(intents):
    job = intents.jobs["evaluate"]
    assert job.one("accuracy", "compress", "test").value == 1.0
    assert job.one("error_rate", "compress", "test").value == 0.0
    assert any(fact.startswith("accuracy 100.0% on test") for fact in job.facts)


def test_every_class_is_a_slice(intents):
    job = intents.jobs["evaluate"]
    assert job.one("recall", "compress", "test/music").n == 2
    assert job.one("precision", "compress", "test/money").value == 1.0


def test_classes_below_the_floor_are_counted_where_one_is_set(intents):
    assert "slices_below_floor" not in {metric for metric, _ in intents.jobs["evaluate"].heard}
    job = evaluate_again(intents, "floor", evaluate={"class_floor": 0.9})
    found = job.one("slices_below_floor", "compress", "test")
    assert (found.value, found.n) == (0, 3)


def test_the_report_names_what_went_wrong(intents):
    report = json.loads((intents.out["evaluate"] / "report.json").read_text())
    split = next(one for one in report["splits"] if one["split"] == "test")
    assert {one["label"] for one in split["classes"]} == {"money", "music", "weather"}
    assert all(one["said"] != one["label"] for one in split["wrong"])
    assert "| accuracy | compressed | 1 share |" in (intents.out["evaluate"] / "report.md").read_text()


def test_the_baseline_is_validated_in_folds_and_the_model_when_asked(intents):
    job = intents.jobs["evaluate"]
    assert job.one("baseline_cross_validated_accuracy", "train").n == 24
    assert "cross_validated_spread" not in {metric for metric, _ in job.heard}
    folds = evaluate_again(intents, "folds", evaluate={"folds": 2})
    assert folds.one("cross_validated_accuracy", "train").n == 24
    spread = folds.one("cross_validated_spread", "train")
    assert spread.n == 2 and spread.interval.low <= spread.value <= spread.interval.high


def test_evaluating_twice_writes_the_same_bytes(intents):
    one, two = intents.out["evaluate"], evaluate_again(intents, "twice").out
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}


def test_the_base_is_a_source_only_where_folds_train_from_it(intents):
    assert evaluate.sources(classify_spec(), intents.root) == ()
    paths = evaluate.sources(classify_spec(evaluate={"folds": 2}), intents.root)
    assert intents.root / "base" / "model.safetensors" in paths
    elsewhere = classify_spec(evaluate={"folds": 2}, train=TRAIN | {"base": "release:encoder@sha256:1"})
    with pytest.raises(SpecError, match="folds need a base that is a folder"):
        evaluate.sources(elsewhere, intents.root)


def test_mcnemar_is_the_binomial_test_of_those_that_differ():
    ours = np.array([True] * 9 + [False] + [True] * 5)
    theirs = np.array([False] * 9 + [True] + [True] * 5)
    assert scores.mcnemar(ours, theirs) == pytest.approx(2 * (1 + 10) / 2**10)
    assert scores.mcnemar(ours, ours) == 1.0


def test_a_model_that_is_as_sure_as_it_is_right_is_calibrated():
    right = np.array([True] * 8 + [False] * 2)
    assert scores.calibration_error(np.full(10, 0.8), right, 1).value == pytest.approx(0.0)
    assert scores.calibration_error(np.full(10, 1.0), right, 1).value == pytest.approx(0.2)


def test_macro_f1_counts_every_class_the_same():
    targets, found = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    assert scores.macro_f1(targets, found, 3, 1).value == pytest.approx((6 / 7 + 0) / 2)


def test_what_is_confused_most_comes_first():
    targets, found = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 2, 1, 0])
    assert scores.confusions(targets, found, "abc", 2) == [("a", "b", 2), ("a", "c", 1)]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_the_difference_to_the_baseline_is_paired(pairs):
    ours, theirs = (np.array(one) for one in zip(*pairs, strict=True))
    found = scores.paired_difference(ours, theirs, 7)
    assert found.value == pytest.approx(ours.mean() - theirs.mean())
    assert found.interval.low <= found.value <= found.interval.high
    if (ours == theirs).all():
        assert found.interval.low == found.interval.high == 0.0


def test_every_row_is_held_out_once_and_never_learnt_from_in_that_fold():
    targets, seen = np.array([0, 1] * 10), []

    def judge(inside, outside):
        assert not set(inside) & set(outside)
        seen.extend(outside.tolist())
        return targets[outside]

    found = cross_validate(targets, 5, 3, judge, lambda done: None)
    assert sorted(seen) == list(range(20))
    assert (found.right, found.rows, found.spread) == (20, 20, 0.0)
    assert cross_validate(np.array([0, 1, 1]), 5, 3, judge, lambda done: None) is None
