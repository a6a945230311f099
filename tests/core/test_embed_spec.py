"""What ``task: embed`` asks of a spec, and what only embeddings may ask for."""

from __future__ import annotations

import pytest

from guideway.core.errors import SpecError
from guideway.core.spec import load

EMBED = """guideway: 1
name: faq
task: embed
data: {sources: [{path: rows.jsonl}]}
train: {recipe: full, base: base}
"""
CHAT = "guideway: 1\nname: talk\ndata: {sources: [{path: rows.jsonl}]}\n"


def loaded(tmp_path, text):
    (tmp_path / "guideway.yaml").write_text(text)
    return load(tmp_path / "guideway.yaml", "dev", {}).spec


def test_embeddings_need_a_task_rows_and_a_base(tmp_path):
    spec = loaded(tmp_path, EMBED)
    assert (spec.task, spec.train.contrast.temperature, spec.train.contrast.pooling) == ("embed", 0.05, "mean")


def test_a_base_may_ship_untrained(tmp_path):
    assert loaded(tmp_path, EMBED.replace("base: base}", "base: base, steps: 0}")).train.steps == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EMBED.replace("recipe: full, base: base", "steps: 9"), "guideway.yaml:5: embeddings are learnt from a base"),
        (EMBED.replace("full", "lora"), "guideway.yaml:5: embeddings are learnt from a base"),
        (EMBED.replace("base: base}", "base: base, batch: 1}"), "guideway.yaml:5: a batch of one has nothing"),
        (EMBED + "serve: {engine: transformers}\n", "guideway.yaml:6: embeddings are served by the engine onnx"),
        (EMBED + "compress: {precision: int4}\n", "guideway.yaml:6: embeddings have no precision int4"),
        (EMBED + "compress: {prune: {share: 0.5}}\n", "guideway.yaml:6: embeddings are not pruned"),
        (EMBED + "explain: {}\n", "guideway.yaml:6: embeddings are explained by the map"),
        (EMBED + "rollout: {golden: {file: g.jsonl}}\n", "guideway.yaml:6: golden prompts have answers"),
        (EMBED.replace("base: base}", "base: base, privacy: {epsilon: 3.0}}"), "guideway.yaml:5: embeddings cannot"),
        (EMBED.replace("rows.jsonl}", "rows.jsonl, weight: 2.0}"), "guideway.yaml:4: pairs have no weights"),
        (EMBED + "evaluate: {folds: 3}\n", "guideway.yaml:6: 'evaluate.folds' is for classifiers"),
        (EMBED + "evaluate: {against: serving}\n", "guideway.yaml:6: embeddings are compared with their base alone"),
        (EMBED.replace("base: base}", "base: base, processes: 2}"), "guideway.yaml:5: embeddings are learnt by one"),
        (CHAT + "train: {contrast: {temperature: 0.1}}\n", "guideway.yaml:4: 'train.contrast' is for embeddings"),
        (CHAT + "train: {steps: 0}\n", "guideway.yaml:4: train.steps: must be at least 1"),
    ],
)
def test_parts_that_do_not_go_with_the_task_are_named_with_their_line(tmp_path, text, says):
    with pytest.raises(SpecError) as refused:
        loaded(tmp_path, text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
