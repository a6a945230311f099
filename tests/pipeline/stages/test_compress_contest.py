"""``precision: auto`` over a real model: every candidate is measured, one is in the artifact, the report says why."""

from __future__ import annotations

import json

import pytest
from stage_rig import FakeJob, colour_spec, run_stage

from guideway.core.errors import GuidewayError, Refused
from guideway.pipeline.stages import package
from guideway.pipeline.stages.compress.race import ROUNDS, Load, race
from guideway.pipeline.stages.compress.report import FILES
from guideway.pipeline.stages.formats.onnx import export

LOOSE = {"max_kl": 0.2, "max_flips": 0.3}
"""So few rows are held out that nothing could be shown to be within the limits of the Standard."""


def compress(colours, out, **asked):
    spec = colour_spec(compress=asked)
    return run_stage("compress", spec, colours.root, out, data=colours.out["data"], train=colours.out["train"])


@pytest.fixture(scope="module")
def contest(colours, tmp_path_factory):
    """One contest between int8 and fp32."""
    out = tmp_path_factory.mktemp("contest") / "out"
    return compress(colours, out, precision="auto", candidates=["int8", "fp32"], **LOOSE)


def report_of(job):
    return json.loads((job.out / "report.json").read_text())


def test_only_the_chosen_export_is_left_byte_for_byte_as_if_it_had_been_asked_for(colours, contest, tmp_path):
    export(colours.out["train"], tmp_path, report_of(contest)["chosen"]["precision"])
    left = {path.name: path.read_bytes() for path in contest.out.iterdir() if path.name not in FILES}
    assert left == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert not list(contest.out.parent.glob(".contest-*"))


def test_the_figures_of_every_candidate_are_evidence_with_intervals(contest):
    for name in ("int8", "fp32"):
        for metric in ("kl_to_source", "top1_flips", "prefill_speed", "decode_speed", "time_per_token"):
            fact = contest.one(f"candidate_{metric}", "train", name)
            assert fact.interval.low <= fact.value <= fact.interval.high and fact.n >= ROUNDS
        assert contest.one("candidate_replica_memory", "train", name).value > 20e6
    sizes = [contest.one("candidate_model_bytes", "train", name).value for name in ("int8", "fp32")]
    assert sizes[0] < sizes[1]


def test_what_ships_has_the_evidence_that_the_clauses_read(contest):
    chosen = report_of(contest)["chosen"]["precision"]
    for metric in ("kl_to_source", "top1_flips", "model_bytes", "time_per_token"):
        fact = contest.one(metric)
        assert fact.source == "train" and fact.value == contest.one(f"candidate_{metric}", "train", chosen).value
    assert contest.one("parity_agreement").n == contest.one("kl_to_source").n


def test_the_report_says_the_same_in_both_languages(contest):
    text = (contest.out / "report.md").read_text(encoding="utf-8")
    assert text.count("| int8") + text.count("| **int8") == 2 and "within the limits" in text and "在上限之内" in text
    for name in ("report.html", "report.zh.html"):
        page = (contest.out / name).read_text(encoding="utf-8")
        assert "<svg" in page and "int8" in page and "fp32" in page and "<script" not in page


def test_a_release_says_what_was_chosen_and_takes_no_report(colours, contest, tmp_path):
    inputs = {"data": colours.out["data"], "train": colours.out["train"], "compress": contest.out}
    spec = colour_spec(compress={"precision": "auto", "candidates": ["int8", "fp32"], **LOOSE})
    job = FakeJob(dict(package.params(spec)), inputs, tmp_path, tmp_path / "auto")
    package.run(job)
    chosen = report_of(contest)["chosen"]["precision"]
    plain = FakeJob(
        dict(package.params(colour_spec(compress={"precision": chosen, **LOOSE}))), inputs, tmp_path, tmp_path / "plain"
    )
    package.run(plain)
    assert json.loads((job.out / "spec.json").read_text())["compress"]["precision"] == chosen
    for path in job.out.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (plain.out / path.relative_to(job.out)).read_bytes()
            assert path.name not in FILES


def test_when_nothing_keeps_to_the_limits_nothing_is_left(colours, tmp_path):
    with pytest.raises(Refused, match=r"no candidate keeps to KL 0.02 .* int8: KL .* ms/token"):
        compress(colours, tmp_path / "out", precision="auto", candidates=["int8"])
    assert list(tmp_path.iterdir()) == [tmp_path / "out"] and not list((tmp_path / "out").iterdir())


def test_a_candidate_that_cannot_be_served_is_one_clear_line(tmp_path):
    with pytest.raises(GuidewayError, match="cannot be served: its process ended with status 1"):
        race([tmp_path], Load([[1, 2]], 2), 1, lambda _: None)
