"""Stage reference: which prompts are ordinary is learnt, the same from the same rows, and held against folds."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from stage_rig import FakeJob, spec_of, write_jsonl

from guideway.core.errors import GuidewayError, SpecError
from guideway.core.guardrails import OUTLIERS_FILE, RULES_FILE, read_guardrails
from guideway.core.outliers import is_beyond, pieces_of, read_reference
from guideway.pipeline.stages import STAGES, package, reference, stages_for
from guideway.sealing.scanner import scan_folder

sys.path.append(str(Path(__file__).parents[2] / "core"))
from outlier_prompts import STRANGE, ordinary


def asks(**outlier):
    return spec_of(serve={"guardrails": {"outlier": outlier}})


def conversation(prompt):
    said = [
        ("system", "you are kind"),
        ("user", "hello"),
        ("assistant", "hello!"),
        ("user", prompt),
        ("assistant", "yes"),
    ]
    return {"id": prompt, "messages": [{"role": role, "content": text} for role, text in said]}


def learn(root: Path, prompts, out="reference", **outlier) -> FakeJob:
    write_jsonl(root / "data" / "train.jsonl", [conversation(prompt) for prompt in prompts])
    spec = asks(**{"flag": 0.99, **outlier})
    reference.sources(spec, root)
    job = FakeJob(dict(reference.params(spec)), {"data": root / "data"}, root, root / out)
    reference.run(job)
    return job


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    return learn(tmp_path_factory.mktemp("reference"), ordinary(1200))


def judge_of(job):
    return read_reference((job.out / OUTLIERS_FILE).read_bytes())


def test_it_learns_what_users_asked_last(learnt):
    judge = judge_of(learnt)
    assert all(is_beyond(judge.share(pieces_of(text)), 0.99) for text in STRANGE)
    assert sum(is_beyond(judge.share(pieces_of(text)), 0.99) for text in ordinary(500, seed=9)) < 20


def test_the_rows_of_the_reference_and_the_spread_between_folds_are_evidence(learnt):
    rows, share = learnt.one("drift_reference_rows", "data"), learnt.one("outlier_share")
    spread = learnt.one("outlier_share_spread")
    assert rows.value == rows.n == share.n == 1200 and spread.n == 5
    assert share.interval.low <= 0.01, "no more than were asked for, within noise"
    report = json.loads((learnt.out / "report.json").read_bytes())
    assert len(report["folds"]) == 5 and report["spread"] == spread.value > 0
    assert 0.01 < sum(report["folds"]) / 5 < 0.08, "of the most unusual twentieth"


def test_the_order_of_rows_and_rows_that_stand_there_twice_change_nothing(learnt, tmp_path):
    again = learn(tmp_path, [*reversed(ordinary(1200)), *(text.upper() for text in ordinary(50))])
    known, other = judge_of(learnt), judge_of(again)
    assert [known.share(pieces_of(text)) for text in STRANGE] == [other.share(pieces_of(text)) for text in STRANGE]
    assert again.one("drift_reference_rows", "data").n == 1200


def test_the_same_rows_give_the_same_bytes(learnt, tmp_path):
    again = learn(tmp_path, ordinary(1200))
    for name in (OUTLIERS_FILE, "report.json"):
        assert (again.out / name).read_bytes() == (learnt.out / name).read_bytes()
    assert (again.out / OUTLIERS_FILE).stat().st_size < 100_000


def test_what_is_too_rare_for_the_rows_is_refused_with_what_is_not(tmp_path):
    with pytest.raises(GuidewayError, match=r"cannot tell a share of 0\.999: that needs 1,998") as error:
        learn(tmp_path, ordinary(1200), refuse=0.999)
    assert "0.9983 at most" in error.value.try_this
    assert judge_of(learn(tmp_path / "just", ordinary(1200), refuse=0.9983)).rows >= 587


def test_traffic_in_files_goes_before_the_training_rows(tmp_path):
    write_jsonl(tmp_path / "traffic.jsonl", [{"prompt": text, "at": 1} for text in ordinary(400)])
    judge = judge_of(learn(tmp_path, ["other words entirely"] * 3, data=["traffic.jsonl"], flag=0.95))
    assert sum(is_beyond(judge.share(pieces_of(text)), 0.95) for text in ordinary(200, seed=3)) < 40


def test_what_is_wrong_with_the_rows_is_said_in_one_line(tmp_path):
    with pytest.raises(GuidewayError, match="3 different prompts say too little"):
        learn(tmp_path, ordinary(3))
    with pytest.raises(SpecError, match=r"there is no file 'none\.jsonl'"):
        reference.sources(asks(flag=0.9, data=["none.jsonl"]), tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n{"prompt": 7}\n')
    with pytest.raises(SpecError, match="not a prompt") as error:
        learn(tmp_path / "bad", ordinary(200), data=[str(tmp_path / "bad.jsonl")])
    assert error.value.where == "bad.jsonl:2"
    with pytest.raises(SpecError, match="rows of text have no prompts"):
        reference.sources(spec_of(task="completion", serve={"guardrails": {"outlier": {"flag": 0.9}}}), tmp_path)


def test_whoever_does_not_ask_for_it_is_asked_for_no_prompts(tmp_path):
    assert reference.sources(spec_of(task="completion"), tmp_path) == ()


def test_only_a_spec_that_asks_for_it_has_the_stage():
    assert "reference" in stages_for(asks(flag=0.9)) and "reference" not in stages_for(spec_of())
    names = list(STAGES)
    assert names.index("data") < names.index("reference") < names.index("package")


def test_the_reference_is_sealed_beside_the_rules(colours, learnt, tmp_path):
    spec = asks(flag=0.99, refuse=0.999)
    inputs = {name: colours.out[name] for name in ("data", "train", "compress")} | {"reference": learnt.out}
    job = FakeJob(dict(package.params(spec)), inputs, tmp_path, tmp_path / "release")
    package.run(job)
    rules = read_guardrails((job.out / RULES_FILE).read_bytes())
    assert (rules.outlier.flag, rules.outlier.refuse) == (0.99, 0.999)
    assert (job.out / OUTLIERS_FILE).read_bytes() == (learnt.out / OUTLIERS_FILE).read_bytes()
    assert scan_folder(job.out).unsafe == ()


def test_a_text_is_its_own_prompt(tmp_path):
    rows = [{"id": text, "text": text, "label": "x"} for text in ordinary(300)]
    write_jsonl(tmp_path / "data" / "train.jsonl", rows)
    spec = spec_of(task="classify", serve={"guardrails": {"outlier": {"flag": 0.9}}})
    job = FakeJob(dict(reference.params(spec)), {"data": tmp_path / "data"}, tmp_path, tmp_path / "out")
    reference.run(job)
    assert job.one("drift_reference_rows", "data").n == 300


@pytest.mark.data
def test_on_real_questions_one_in_a_hundred_is_flagged_and_verses_are(tmp_path):
    outside = Path(os.environ["GUIDEWAY_TEST_DATA"])
    parts = json.loads((outside / "clinc150" / "data_full.json").read_text(encoding="utf-8"))
    verses = (outside / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8").splitlines()
    rows = [{"id": text, "text": text, "label": label} for text, label in parts["train"][::4]]
    write_jsonl(tmp_path / "data" / "train.jsonl", rows)
    spec = spec_of(task="classify", serve={"guardrails": {"outlier": {"flag": 0.99, "refuse": 0.999}}})
    job = FakeJob(dict(reference.params(spec)), {"data": tmp_path / "data"}, tmp_path, tmp_path / "out")
    reference.run(job)
    judge = judge_of(job)
    questions, others = [text for text, _ in parts["test"]], [line for line in verses if len(line) > 20][:1500]
    shares = [
        sum(is_beyond(judge.share(pieces_of(text)), 0.99) for text in texts) / len(texts)
        for texts in (questions, others)
    ]
    assert 0.003 < shares[0] < 0.025 and shares[1] > 0.25, shares
