"""What ``task: classify`` asks of a spec, and what only a classifier may ask for."""

from __future__ import annotations

import pytest

from guideway.core.errors import SpecError
from guideway.core.spec import load

CLASSIFY = """guideway: 1
name: intents
task: classify
data: {sources: [{path: rows.jsonl}], splits: {val: {share: 0.1}}}
train: {recipe: full, base: base}
"""
TOLD = "serve: {guardrails: {outlier: {flag: 0.9, by: meaning}}}\n"
CHAT = "guideway: 1\nname: talk\ndata: {sources: [{path: rows.jsonl}]}\n"


def loaded(tmp_path, text):
    (tmp_path / "guideway.yaml").write_text(text)
    return load(tmp_path / "guideway.yaml", "dev", {}).spec


def test_a_classifier_needs_a_task_rows_and_a_base(tmp_path):
    assert loaded(tmp_path, CLASSIFY).task == "classify"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CLASSIFY.replace("recipe: full, base: base", "steps: 9"), "guideway.yaml:5: a classifier is trained from"),
        (
            CLASSIFY.replace("recipe: full", "recipe: lora"),
            "guideway.yaml:5: all weights of a classifier learn: recipe 'lora'",
        ),
        (
            CLASSIFY.replace("recipe: full", "recipe: qlora"),
            "guideway.yaml:5: all weights of a classifier learn: recipe 'qlora",
        ),
        (CLASSIFY + "serve: {engine: transformers}\n", "guideway.yaml:6: a classifier is served by the engine onnx"),
        (CLASSIFY + "compress: {precision: int4}\n", "guideway.yaml:6: a classifier has no precision int4"),
        (
            CLASSIFY.replace("base: base}", "base: base, privacy: {epsilon: 3.0}}"),
            "guideway.yaml:5: a classifier cannot",
        ),
        (CLASSIFY.replace("rows.jsonl}", "rows.jsonl, weight: 2.0}"), "guideway.yaml:4: rows of a classifier have no"),
        (CLASSIFY + "compress: {precision: auto}\n", "guideway.yaml:6: a classifier has no precision auto"),
        (CLASSIFY + "compress: {prune: {share: 0.5}}\n", "guideway.yaml:6: a classifier is not pruned"),
        (CLASSIFY.replace("data: {", "data: {learn_out_of_scope: true, "), "guideway.yaml:4: no label is out of scope"),
        (
            CLASSIFY + "serve: {guardrails: {max_input: 9}}\n",
            "guideway.yaml:6: guardrails are about chat, and a classifier has none but outliers by meaning",
        ),
        (CLASSIFY + "serve: {guardrails: {refusal: not mine}}\n", "guideway.yaml:6: guardrails are about chat"),
        (CLASSIFY + "serve: {guardrails: {outlier: {flag: 0.9}}}\n", "guideway.yaml:6: a classifier tells outliers by"),
        (CLASSIFY + TOLD, "guideway.yaml:6: how far ordinary texts are is read off validation rows"),
        (
            CLASSIFY + TOLD.replace("by:", "data: [x.jsonl], by:"),
            "guideway.yaml:6: what is ordinary is learnt from the training rows",
        ),
        (CHAT + TOLD, "guideway.yaml:4: outliers by meaning are for classifiers"),
        (CHAT + "evaluate: {folds: 3}\n", "guideway.yaml:4: 'evaluate.folds' is for classifiers"),
        (CHAT + "train: {class_weights: true}\n", "guideway.yaml:4: 'train.class_weights' is for classifiers"),
    ],
)
def test_parts_that_do_not_go_with_the_task_are_named_with_their_line(tmp_path, text, says):
    with pytest.raises(SpecError) as refused:
        loaded(tmp_path, text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_classifier_may_tell_outliers_by_meaning_and_refuse_them_in_words_of_its_own(tmp_path):
    text = CLASSIFY.replace("base: base}", "base: base, validation: {split: val}}") + TOLD
    assert loaded(tmp_path, text).serve.guardrails.outlier.strictest == 0.9
    assert loaded(tmp_path, text.replace("outlier:", "refusal: not mine, outlier:")).serve.guardrails.refusal
