"""A plan says what must run, and why."""

from __future__ import annotations

import pytest

from guideway.pipeline.plan import difference, plan


def planned(project, **changes):
    steps = plan(project.spec(**changes), project.root, list(project.stages.values()), project.shop.known)
    return {step.stage: (step.runs, step.why) for step in steps}


def test_a_first_plan_runs_everything(project):
    assert planned(project) == {"first": (True, "never ran"), "second": (True, "follows first")}


def test_a_plan_after_a_run_keeps_everything(project):
    project.run()
    assert planned(project) == {"first": (False, "cached"), "second": (False, "cached")}


def test_a_changed_parameter_is_named(project):
    project.run()
    assert planned(project, steps=2)["first"] == (True, "parameter changed: steps")
    assert planned(project, seed=9) == {"first": (False, "cached"), "second": (True, "parameter changed: seed")}


def test_a_changed_source_file_is_named(project):
    project.run()
    (project.root / "a.txt").write_text("other")
    assert planned(project)["first"] == (True, "file changed: a.txt")


def test_a_result_whose_blob_is_gone_runs_again(project):
    results = project.run()
    blob = project.shop.blobs.path(results["second"].artifact.files[0].digest)
    blob.unlink()
    assert planned(project)["second"] == (True, "its result is gone")
    project.ran()
    project.run()
    assert project.ran() == ["second"]


@pytest.mark.parametrize(
    ("before", "now", "why"),
    [
        (None, {"code": "1"}, "never ran"),
        ({"code": "1"}, {"code": "2"}, "code changed"),
        ({"library torch": "1"}, {"library torch": "2"}, "library changed: torch"),
        ({"input data": "1", "parameter a": "1"}, {"input data": "2", "parameter a": "2"},
         "input changed: data; parameter changed: a"),
        ({}, {f"file {n}": "1" for n in "abcde"}, "files changed: a, b, c and 2 more"),
    ],
)  # fmt: skip
def test_a_difference_is_told_in_a_few_words(before, now, why):
    assert difference(before, now) == why
