"""Stage evaluate for embeddings: true figures with intervals, against the base and BM25 on the same questions."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from classify_rig import labelled_rows, make_encoder
from embed_rig import TRAIN, data_of, faq_spec
from stage_rig import STAGES, run_stage, write_jsonl

from guideway.pipeline.stages import evaluate
from guideway.pipeline.stages.embed import scores
from guideway.pipeline.stages.embed.rows import Query
from guideway.pipeline.stages.embed.words import Words

FIGURES = ("recall_at_1", "recall_at_5", "mrr_at_10", "ndcg_at_10", "ndcg_loss")


def test_both_models_the_base_and_bm25_have_every_figure_with_an_interval(faq):
    job = faq.jobs["evaluate"]
    for about in ("train", "compress"):
        for prefix in ("", "base_", "baseline_"):
            for metric in FIGURES:
                found = job.one(f"{prefix}{metric}", about, "test")
                assert found.interval.low <= found.value <= found.interval.high and found.n == 12
        assert job.one("non_finite_outputs", about, "test").value == 0
    ours, base = (job.one(name, "compress", "test").value for name in ("ndcg_at_10", "base_ndcg_at_10"))
    assert job.one("ndcg_over_base", "compress", "test").value == pytest.approx(ours - base)


def test_what_was_taught_is_found_in_words_that_were_not(faq):
    job = faq.jobs["evaluate"]
    assert job.one("ndcg_at_10", "compress", "test").value > job.one("base_ndcg_at_10", "compress", "test").value
    assert job.one("ndcg_at_10", "compress", "test").value > 0.85
    assert any(fact.startswith("nDCG@10 ") and "BM25" in fact for fact in job.facts)


def test_the_report_names_what_is_found_last_and_has_a_map_in_two_languages(faq):
    out = faq.out["evaluate"]
    report = json.loads((out / "report.json").read_text())
    assert report["passages"] == {"all": 12, "searched": 12}
    assert all(one["rank"] > 1 for split in report["splits"] for one in split["missed"])
    assert "| ndcg_at_10 | compressed |" in (out / "report.md").read_text()
    page = (out / "report.html").read_text()
    assert page.count("<circle") == 24, "twelve passages and twelve questions, laid by PCA"
    assert "question, test" in page and 'lang="zh"' in page and "<script" not in page


def test_evaluating_twice_writes_the_same_bytes(faq):
    inputs = {need: faq.out[need] for need in evaluate.needs}
    again = run_stage("evaluate", faq.spec, faq.root, faq.root / "twice", **inputs).out
    one = {path.name: path.read_bytes() for path in faq.out["evaluate"].iterdir()}
    assert one == {path.name: path.read_bytes() for path in again.iterdir()}


def test_the_base_is_a_source_unless_it_ships_itself(faq):
    assert faq.root / "base" / "model.safetensors" in evaluate.sources(faq.spec, faq.root)
    assert evaluate.sources(faq_spec(train=TRAIN | {"steps": 0}), faq.root) == ()


def test_texts_with_labels_look_for_training_texts_of_their_label(tmp_path):
    rows = [row for row in labelled_rows() if row["label"] != "oos"]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    make_encoder(tmp_path / "base", [row["text"] for row in rows], layers=1)
    splits = {"test": {"by": ["part"], "values": ["test"]}}
    spec, out = faq_spec(data=data_of(splits=splits), train=TRAIN | {"steps": 20}), {}
    for name, stage in STAGES.items():
        job = run_stage(name, spec, tmp_path, tmp_path / name, **{need: out[need] for need in stage.needs})
        out[name] = tmp_path / name
    assert job.one("recall_at_5", "compress", "test").value > 0.9
    page = (out["evaluate"] / "report.html").read_text()
    assert "weather" in page and "question, test" not in page


def queries(*right):
    return [Query(str(number), frozenset(one)) for number, one in enumerate(right)]


def test_figures_of_a_ranking_are_those_of_the_textbook():
    found = np.array([[0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]])
    each = scores.each(found, queries({0, 2}, {2}))
    assert each["recall_at_1"].tolist() == [1.0, 0.0]
    assert each["recall_at_5"].tolist() == [1.0, 1.0]
    assert each["mrr_at_10"].tolist() == [1.0, 0.5]
    ideal = 1.0 + 1 / math.log2(3)
    assert each["ndcg_at_10"].tolist() == pytest.approx([(1.0 + 0.5) / ideal, 1 / math.log2(3)])
    assert scores.ranks(found, queries({0, 2}, {2})) == [1, 2]


def test_what_stands_below_the_tenth_is_not_found():
    found = np.arange(12.0)[None, ::-1]
    assert scores.each(found, queries({11}))["ndcg_at_10"].tolist() == [0.0]
    assert scores.ranks(found, queries({11})) == [12]


def test_of_passages_that_score_alike_the_first_one_counts_as_better():
    assert scores.ranks(np.zeros((1, 3)), queries({2})) == [3], "so a model that says nothing finds nothing"


def test_bm25_is_that_of_the_formula():
    passages = ["the cat sat", "the dog sat on the cat", "a bird"]
    found = Words(passages).scores(["cat", "unknown"])
    rare = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))

    def weight(length):
        return rare * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / (11 / 3)))

    assert found[0].tolist() == pytest.approx([weight(3), weight(6), 0.0])
    assert found[1].tolist() == [0.0, 0.0, 0.0]


def test_words_of_chinese_are_its_characters():
    assert Words(["病毒如何传播", "疫苗何时上市"]).scores(["怎样传播"]).argmax() == 0


@pytest.mark.data
def test_real_questions_are_asked_of_real_answers(tmp_path):
    source = Path(os.environ["GUIDEWAY_TEST_DATA"]) / "faq-covid" / "faq_covidbert.csv"
    with source.open(encoding="utf-8", newline="") as file:
        rows = [{"prompt": one["question"], "response": one["answer"]} for one in csv.DictReader(file)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    make_encoder(tmp_path / "base", [rows[0]["prompt"]], layers=1)
    train = TRAIN | {"steps": 0, "architecture": {"context": 60}}
    spec, out = faq_spec(data=data_of(splits={"test": {"share": 0.3}}), train=train), {}
    for name, stage in STAGES.items():
        job = run_stage(name, spec, tmp_path, tmp_path / name, **{need: out[need] for need in stage.needs})
        out[name] = tmp_path / name
    words = job.one("baseline_ndcg_at_10", "compress", "test").value
    assert 0.45 < words < 0.65, "BM25 on these questions"
    assert job.one("ndcg_at_10", "compress", "test").value < words, "an encoder that learned nothing knows less"
