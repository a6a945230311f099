"""Stage against: two releases on the same rows, each in its own way; a difference within noise says so."""

from __future__ import annotations

import json
import shutil

import msgspec
import pytest
from classify_rig import classify_spec
from stage_rig import FakeJob, colour_spec, run_stage, write_jsonl

from guideway.core.errors import SpecError
from guideway.core.evidence import Interval
from guideway.core.spec import load
from guideway.pipeline.stages import package, stages_for
from guideway.pipeline.stages.against.report import Compared

SERVING = {"max_tokens": 8, "against": "serving"}


def asks(**parts):
    return colour_spec(evaluate=SERVING, **parts)


def packed(spec, made, folder):
    """The release that the outputs *made* of data, train and compress become."""
    inputs = {name: made[name] for name in ("data", "train", "compress")}
    job = FakeJob(dict(package.params(spec)), inputs, folder, folder / "release")
    package.run(job)
    return job.out


@pytest.fixture
def compare(colours, tmp_path):
    """``compare(serving folder, **parts of the spec)``: the shared model against a release."""

    def run(serving, made=colours, spec=None, **parts):
        inputs = {name: made.out[name] for name in ("data", "train", "compress")}
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        return run_stage("against", spec or asks(**parts), tmp_path, tmp_path / "out", **inputs, serving=serving)

    return run


@pytest.fixture
def served(colours, tmp_path):
    """The shared model as a release with what *serve* says."""
    return lambda **serve: packed(asks(serve=serve), colours.out, tmp_path)


def report(job):
    return {one["metric"]: one for one in json.loads((job.out / "report.json").read_text())["compared"]}


def test_a_release_against_itself_gains_nothing_and_is_within_noise(compare, served):
    job = compare(served())
    for metric, unit in (("serving_loss_gain", "nats/byte"), ("serving_exact_match_gain", "share")):
        gain = job.one(metric, "compress", "unseen")
        assert (gain.value, gain.interval.low, gain.interval.high, gain.unit, gain.n) == (0.0, 0.0, 0.0, unit, 12)
    assert all(fact.startswith("within noise of the other release on unseen") for fact in job.facts)
    assert "within noise" in (job.out / "report.md").read_text()
    assert "在噪声范围内" in (job.out / "report.zh.md").read_text()
    assert report(job)["serving_exact_match_gain"]["mcnemar_p"] == 1.0


def test_a_release_speaks_by_its_own_template_and_a_broken_one_shows(colours, compare, served, tmp_path):
    (tmp_path / "broken.jinja").write_text("{% for m in messages %}{% endfor %}<|assistant|>")
    broken = served(prompt={"template": "broken.jinja"})
    better = compare(broken)
    evaluated = colours.jobs["evaluate"].one("exact_match", "compress", "unseen").value
    gain = report(better)["serving_exact_match_gain"]
    assert gain["ours"] == evaluated and gain["theirs"] < 0.25
    assert gain["verdict"] == 1 and gain["mcnemar_p"] < 0.05
    assert better.one("serving_loss_gain", "compress", "unseen").interval.low > 0
    good = packed(asks(), colours.out, tmp_path / "good")
    worse = compare(good, serve={"prompt": {"template": "broken.jinja"}})
    mirrored = worse.one("serving_loss_gain", "compress", "unseen")
    assert mirrored.value == pytest.approx(-better.one("serving_loss_gain", "compress", "unseen").value)
    assert any(fact.startswith("worse than the other release") for fact in worse.facts)


def test_another_tokenizer_context_and_engine_are_compared_byte_by_byte(colours, compare, tmp_path):
    shape = {"layers": 1, "hidden": 32, "heads": 2, "kv_heads": 1, "feed_forward": 64, "vocabulary": 300, "context": 96}
    other = colour_spec(
        train={"architecture": shape, "steps": 1, "batch": 4, "validation": {"share": 0.0}},
        serve={"engine": "transformers"},
    )
    run_stage("train", other, colours.root, tmp_path / "train", data=colours.out["data"])
    made = {"data": colours.out["data"], "train": tmp_path / "train", "compress": colours.out["compress"]}
    job = compare(packed(other, made, tmp_path))
    gain = report(job)["serving_loss_gain"]
    assert gain["theirs"] > 1.0 > gain["ours"] and gain["verdict"] == 1 and gain["n"] == 12


def test_texts_that_fit_neither_context_are_cut_for_both_alike(colours, compare, tmp_path):
    spec = asks(task="completion")
    shutil.copytree(colours.out["data"], tmp_path / "data")
    rows = [{"id": str(at), "text": "the sky is blue and the grass is green, " * 40, "fields": {}} for at in range(3)]
    write_jsonl(tmp_path / "data" / "unseen.jsonl", [*rows, {"id": "9", "text": "", "fields": {}}])
    made = colours._replace(out={**colours.out, "data": tmp_path / "data"})
    job = compare(packed(spec, colours.out, tmp_path), made=made, spec=spec)
    assert job.one("serving_loss_gain", "compress", "unseen").n == 3
    assert not [name for name, _ in job.heard if name != "serving_loss_gain"]


def test_where_nothing_serves_nothing_is_left_and_it_says_so(compare, tmp_path):
    (tmp_path / "empty").mkdir()
    job = compare(tmp_path / "empty")
    assert job.heard == [] and job.facts == ["nothing serves, so there was nothing to compare with"]
    assert json.loads((job.out / "report.json").read_text()) == {"compared": [], "why": job.facts[0]}


def test_a_release_for_another_task_is_not_compared(compare, intents, tmp_path):
    job = compare(packed(classify_spec(), intents.out, tmp_path))
    assert job.heard == [] and job.facts == ["the other release is for the task classify, so it was not compared"]


def test_classifiers_are_compared_as_they_serve(compare, intents, tmp_path):
    spec = classify_spec(evaluate={"against": "serving"})
    release = packed(spec, intents.out, tmp_path)
    job = compare(release, made=intents, spec=spec)
    assert job.one("serving_accuracy_gain", "compress", "test").value == 0.0
    settings = json.loads((release / "model" / "classifier.json").read_text())
    settings["labels"] = settings["labels"][1:] + settings["labels"][:1]
    (release / "model" / "classifier.json").unlink()
    (release / "model" / "classifier.json").write_text(json.dumps(settings))
    job = compare(release, made=intents, spec=spec)
    gain = report(job)["serving_accuracy_gain"]
    assert gain["ours"] > gain["theirs"] and 0.0 <= gain["mcnemar_p"] <= 1.0


def test_comparing_twice_writes_the_same_bytes(compare, served):
    release = served()
    files = [{path.name: path.read_bytes() for path in compare(release).out.iterdir()} for _ in range(2)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("low", "high", "verdict", "told"),
    [(0.1, 0.3, 1, "better"), (-0.3, -0.1, -1, "worse"), (-0.1, 0.3, 0, "within noise"), (0.0, 0.2, 0, "within noise")],
)
def test_only_a_whole_interval_on_one_side_of_nothing_is_a_difference(low, high, verdict, told):
    middle = (low + high) / 2
    one = Compared("score", "a", 1.0, 1.0, middle, "share", 9, Interval(low, high, 0.95, "bootstrap"))
    assert one.verdict == verdict and one.told.startswith(told)


def test_only_a_spec_that_names_a_release_has_the_stage(tmp_path):
    assert "against" not in stages_for(colour_spec()) and "against" in stages_for(asks())
    spec = "guideway: 1\nname: small\ndata: {sources: [{path: x}]}\nevaluate:\n  against: "
    (tmp_path / "guideway.yaml").write_text(spec + "release:small\n")
    with pytest.raises(SpecError, match="'release:small' does not say which release") as refused:
        load(tmp_path / "guideway.yaml")
    assert refused.value.where == "guideway.yaml:5"
    (tmp_path / "guideway.yaml").write_text(spec + f"release:small@sha256:{'a' * 64}\n")
    found = load(tmp_path / "guideway.yaml").spec
    assert stages_for(found)["against"].borrows(found) == {"serving": f"whole:release:small@sha256:{'a' * 64}"}
    assert msgspec.to_builtins(found)["evaluate"]["against"].startswith("release:")
