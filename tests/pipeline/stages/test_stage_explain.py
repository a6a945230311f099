"""Stage explain: why the model that ships says what it says, and whether that is better than chance."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from stage_rig import colour_spec, read_jsonl, run_stage, spec_of, write_jsonl

from guideway.core.spec import build_part
from guideway.pipeline.stages import STAGES, explain, stages_for
from guideway.pipeline.stages.explain.answers import Answers, Settings
from guideway.pipeline.stages.explain.subject import explain as explained_by

ASKED = {"examples": 8}


@pytest.fixture(scope="session")
def known(colours):
    """What the stage reads, with texts held out that the small model has learned by heart: it has reasons for those."""
    rows = read_jsonl(colours.out["data"] / "train.jsonl")
    write_jsonl(colours.root / "known" / "unseen.jsonl", rows[::7])
    return {"data": colours.root / "known", "train": colours.out["train"], "compress": colours.out["compress"]}


@pytest.fixture(scope="session")
def explained(colours, known):
    """The colours, explained once."""
    return explain_again(colours, known, "explain", **ASKED)


def explain_again(colours, known, name, **asked):
    return run_stage("explain", colour_spec(explain=asked), colours.root, colours.root / "out" / name, **known)


def test_the_gain_over_chance_is_evidence_about_what_ships(explained):
    found = explained.one("faithfulness_gain", "compress", "unseen")
    assert found.n == 8 and found.unit == "nats"
    assert found.interval.low <= found.value <= found.interval.high


def test_a_model_that_learned_colours_looks_at_the_thing(explained):
    found = explained.one("faithfulness_gain", "compress", "unseen")
    assert found.interval.low > 0 and "more faithful than chance" in explained.facts[0]
    lines = read_jsonl(explained.out / "attributions.jsonl")
    heaviest = [line["tokens"][int(np.argmax(line["weights"]))][0] for line in lines if line["right"]]
    things = {word for line in lines for word in re.findall("`(.*?)`", line["text"])}
    assert heaviest and sum(word in things for word in heaviest) >= len(heaviest) / 2


def test_a_line_says_what_was_asked_and_how_likely_the_answer_was(explained):
    for line in read_jsonl(explained.out / "attributions.jsonl"):
        assert all(line["text"][start:end] == text for text, start, end in line["tokens"])
        assert len(line["weights"]) == len(line["tokens"]) and line["score"] <= 0
        assert line["method"] == "occlusion" and line["right"] is (line["target"] == line["wanted"])


def test_the_report_stands_alone_and_speaks_both_languages(explained):
    page = (explained.out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r'(src|href)="', page)
    assert "Deletion test" in page and "删除测试" in page and page.count("<svg") == 4
    assert page.count('class="case"') == 8


def test_explaining_twice_leaves_the_same_bytes(colours, known, explained):
    again = explain_again(colours, known, "again", **ASKED)
    assert {p.name: p.read_bytes() for p in again.out.iterdir()} == {
        p.name: p.read_bytes() for p in explained.out.iterdir()
    }


@pytest.mark.parametrize("method", ["shap", "lime", "gradients"])
def test_every_method_explains_answers_too(colours, known, method):
    job = explain_again(colours, known, method, examples=4, method=method)
    assert job.one("faithfulness_gain", "compress", "unseen").n == 4
    assert {line["method"] for line in read_jsonl(job.out / "attributions.jsonl")} == {method}


def test_the_model_in_torch_is_explained_where_it_ships(colours, known):
    spec = colour_spec(explain=ASKED, serve={"engine": "transformers"})
    job = run_stage("explain", spec, colours.root, colours.root / "out" / "torch", **known)
    assert job.one("faithfulness_gain", "train", "unseen").n == 8
    lines = read_jsonl(job.out / "attributions.jsonl")
    assert any(abs(weight) > 0.1 for line in lines for weight in line["weights"])


def test_without_a_judged_split_nothing_is_explained(colours, tmp_path):
    splits = {"unseen": {"by": ["phrasing"], "values": ["p7"], "judged": False}}
    spec = colour_spec(explain={}, data={"sources": [{"path": "rows.jsonl"}], "splits": splits})
    inputs = {need: colours.out[need] for need in explain.needs}
    job = run_stage("explain", spec, colours.root, tmp_path / "out", **inputs)
    assert job.heard == [] and job.facts == ["no split is held out, so nothing was explained"]


def test_rows_of_a_single_word_are_left_out(colours, tmp_path):
    rows = [
        {"id": str(number), "messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "blue"}]}
        for number, text in enumerate(("sky", "the colour of `sky`?", "sea"))
    ]
    write_jsonl(tmp_path / "data" / "unseen.jsonl", rows)
    inputs = {"data": tmp_path / "data", "train": colours.out["train"], "compress": colours.out["compress"]}
    job = run_stage("explain", colour_spec(explain=ASKED), colours.root, tmp_path / "out", **inputs)
    assert [line["id"] for line in read_jsonl(job.out / "attributions.jsonl")] == ["1"]


def test_a_plain_text_is_explained_by_its_first_half(colours):
    model = Answers(colours.out["compress"], Settings("completion", max_tokens=4))
    (case,) = model.cases([{"id": "1", "text": "tell me the colour of the sky blue"}])
    assert (case.text, case.right) == ("tell me the colour", None) and len(case.tokens) == 4
    found = explained_by(case, "occlusion", model.unit, 7)
    assert np.isfinite(found.weights).all() and found.score <= 0


def test_a_prompt_that_fills_the_context_is_read_whole(colours):
    model = Answers(colours.out["compress"], Settings("completion", max_tokens=32))
    case = model.ask("a " * 30)
    assert len(case.tokens) == 30 and np.isfinite(explained_by(case, "occlusion", "nats", 7).weights).all()


# What a spec without it has


def test_a_spec_that_does_not_ask_is_built_as_before():
    plain, asking = spec_of(), spec_of(explain={})
    assert "explain" not in build_part(plain) and build_part(asking)["explain"]["examples"] == 50
    assert [name for name in stages_for(asking) if name not in stages_for(plain)] == ["explain"]
    assert not [stage.name for stage in STAGES.values() if "explain" in stage.needs]


def test_the_first_judged_split_is_explained_unless_another_is_named():
    splits = {"hard": {"by": ["x"], "share": 0.1, "judged": False}, "test": {"share": 0.1}}
    spec = spec_of(data={"sources": [{"path": "rows.jsonl"}], "splits": splits}, explain={})
    assert explain.params(spec)["split"] == "test"
    named = spec_of(data={"sources": [{"path": "rows.jsonl"}], "splits": splits}, explain={"split": "hard"})
    assert explain.params(named)["split"] == "hard"


def test_parameters_are_plain_values():
    assert json.loads(json.dumps(explain.params(spec_of(explain={}))))["method"] == "auto"
