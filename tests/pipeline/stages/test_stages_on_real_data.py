"""The stages on text that nobody made for them. Needs GUIDEWAY_TEST_DATA."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from classify_rig import TRAIN, classify_spec, make_encoder
from stage_rig import STAGES, colour_spec, read_jsonl, run_stage, write_jsonl

pytestmark = pytest.mark.data

SHAPE = {"layers": 2, "hidden": 64, "heads": 2, "kv_heads": 1, "feed_forward": 128, "vocabulary": 600, "context": 64}


@pytest.fixture
def outside() -> Path:
    return Path(os.environ["GUIDEWAY_TEST_DATA"])


def text_spec(path, **data):
    """A small model that continues texts."""
    return colour_spec(
        task="completion",
        data={"sources": [{"path": path}], "splits": {"held": {"share": 0.1}}, **data},
        train={"architecture": SHAPE, "steps": 40, "batch": 16, "learning_rate": 5e-3},
        evaluate={"examples": 20},
    )


def whole_pass(spec, root):
    out, jobs = {}, {}
    for name, stage in STAGES.items():
        jobs[name] = run_stage(name, spec, root, root / name, **{need: out[need] for need in stage.needs})
        out[name] = root / name
    return jobs


def poems(outside, name):
    found = json.loads((outside / "chinese-poetry" / name).read_text(encoding="utf-8"))
    return [{"text": "\n".join([poem["title"], *poem["paragraphs"]]), "author": poem["author"]} for poem in found]


@pytest.mark.thorough
def test_shakespeare_goes_all_the_way_and_nothing_of_him_is_lost(outside, tmp_path):
    whole = (outside / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    (tmp_path / "input.txt").write_text(whole, encoding="utf-8")
    jobs = whole_pass(text_spec("input.txt", deduplicate=False), tmp_path)
    rows = [row["text"] for name in ("train", "held") for row in read_jsonl(tmp_path / "data" / f"{name}.jsonl")]
    assert sorted("\n".join(rows).split()) == sorted(whole.split())
    held = jobs["evaluate"].one("perplexity", "compress", "held")
    assert held.interval.low < held.value < 600, "no better than to guess among all tokens"
    assert jobs["compress"].one("kl_to_source").value < 0.02


def test_poems_go_all_the_way_and_an_author_stays_on_one_side(outside, tmp_path):
    write_jsonl(tmp_path / "poems.jsonl", poems(outside, "唐诗三百首.json"))
    splits = {"held": {"by": ["author"], "share": 0.2}}
    jobs = whole_pass(text_spec("poems.jsonl", splits=splits), tmp_path)
    sides = [
        {row["fields"]["author"] for row in read_jsonl(tmp_path / "data" / f"{name}.jsonl")}
        for name in ("train", "held")
    ]
    assert all(sides) and not sides[0] & sides[1]
    assert jobs["evaluate"].one("perplexity", "train", "held").n > 100


def test_every_poem_is_kept_or_counted(outside, tmp_path):
    rows = poems(outside, "poet.tang.0.json")
    write_jsonl(tmp_path / "poems.jsonl", rows)
    run_stage("data", text_spec("poems.jsonl"), tmp_path, tmp_path / "data")
    counts = json.loads((tmp_path / "data" / "manifest.json").read_text())["rows"]
    assert counts["read"] == len(rows) == counts["kept"] + counts["duplicates"] + counts["empty"] + counts["rejected"]


def test_csv_of_strangers_is_read(outside, tmp_path):
    shutil.copyfile(outside / "azure-llm-trace-2023" / "AzureLLMInferenceTrace_conv.csv", tmp_path / "trace.csv")
    heading = (tmp_path / "trace.csv").open(encoding="utf-8-sig").readline().strip().split(",")
    spec = colour_spec(
        data={"sources": [{"path": "trace.csv"}], "prompt": heading[0], "response": heading[-1], "splits": {}}
    )
    run_stage("data", spec, tmp_path, tmp_path / "data")
    lines = sum(1 for _ in (tmp_path / "trace.csv").open(encoding="utf-8-sig")) - 1
    counts = json.loads((tmp_path / "data" / "manifest.json").read_text())["rows"]
    assert counts["read"] == lines and counts["rejected"] == 0


def clinc(outside, classes, rows):
    """The first *rows* training and test texts of the first *classes* intents, and some of none."""
    parts = json.loads((outside / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    labels = sorted({label for _, label in parts["train"]})[:classes]
    for name in ("train", "val", "test"):
        for label in labels:
            texts = [text for text, said in parts[name] if said == label][:rows]
            yield from ({"text": text, "label": label, "split": name} for text in texts)
    for name in ("val", "test"):
        yield from ({"text": text, "label": "oos", "split": name} for text, _ in parts[f"oos_{name}"][:20])


def test_intents_go_all_the_way_and_are_told_from_what_is_none(outside, tmp_path):
    rows = list(clinc(outside, classes=6, rows=30))
    write_jsonl(tmp_path / "rows.jsonl", rows)
    make_encoder(tmp_path / "base", [row["text"] for row in rows], hidden=64)
    splits = {name: {"by": ["split"], "values": [name]} for name in ("val", "test")}
    data = {"sources": [{"path": "rows.jsonl"}], "out_of_scope": "oos", "splits": splits}
    jobs = whole_pass(classify_spec(data=data, train=TRAIN | {"steps": 60, "batch": 16}), tmp_path)
    found = {
        metric: jobs["evaluate"].one(metric, "compress", "test")
        for metric in ("accuracy", "baseline_accuracy", "out_of_scope_recall", "out_of_scope_precision")
    }
    assert found["accuracy"].n == 180 and found["accuracy"].value > 0.5, "a guess is right once in six"
    assert found["baseline_accuracy"].value > 0.7
    assert found["out_of_scope_recall"].n == 20
    assert jobs["compress"].one("kl_to_source").value < 0.02
