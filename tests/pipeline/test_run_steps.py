"""A run repeats only what it must, whatever kills it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from guideway.core.artifact import digest_of, short
from guideway.core.errors import GuidewayError, Unavailable
from guideway.core.events import Progress, StepFailed, StepFinished, StepStarted
from guideway.kit.files import locked
from guideway.pipeline import process
from guideway.pipeline import run as run_room
from guideway.pipeline.plan import key_parts
from guideway.signing import dsse
from guideway.signing.keys import trusted
from guideway.store import evidence, ledger, steps

BUILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script starts what it runs in the background deaf
sys.path[:0] = [{fakes!r}, {tests!r}]
from conftest import Project
from pathlib import Path
project = Project(Path({root!r}))
project.run(mode={mode!r})
print(",".join(project.ran()))
"""


def wait_for(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


def in_another_process(project, mode: str = "") -> subprocess.Popen[str]:
    here = Path(__file__).parent
    code = BUILD.format(fakes=str(here / "fakes"), tests=str(here), root=str(project.root), mode=mode)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_the_same_spec_twice_runs_nothing(project):
    first = project.run()
    assert project.ran() == ["first", "second"]
    assert project.run() == first
    assert project.ran() == []
    assert all(event.cached for event in project.events if isinstance(event, StepFinished))


def test_changing_one_stage_reruns_it_and_everything_after_it(project):
    project.run()
    project.ran()
    project.run(steps=2)
    assert project.ran() == ["first"]  # its result came out the same, so the second one stays
    (project.root / "a.txt").write_text("longer text")
    project.run(steps=2)
    assert project.ran() == ["first", "second"]


def test_going_back_to_an_older_spec_runs_nothing(project):
    project.run()
    project.run(seed=5)
    project.ran()
    project.run()
    assert project.ran() == []


def test_a_step_says_why_it_runs_and_how_far_it_is(project):
    project.run()
    assert [event.why for event in project.events if isinstance(event, StepStarted)] == ["never ran", "never ran"]
    assert [event.done for event in project.events if isinstance(event, Progress)] == [0, 1, 2]


def test_the_evidence_of_every_step_is_kept_as_rows_with_its_envelope_and_signer(project):
    results = project.run()
    for result in results.values():
        for fact in result.evidence:
            (kept,) = [one for one in evidence.all_of(project.shop.database) if one.evidence == fact]
            assert (kept.envelope, kept.signer) == (result.envelope, "guideway")
    assert len(evidence.all_of(project.shop.database)) == sum(len(result.evidence) for result in results.values()) > 0


def test_a_stage_does_not_learn_where_the_state_is(monkeypatch):
    monkeypatch.setenv("GUIDEWAY_STATE", "postgresql://ann:s3cret@db/x")
    monkeypatch.setenv("ANOTHER", "one")
    assert "GUIDEWAY_STATE" not in process._environment() and process._environment()["ANOTHER"] == "one"


def test_evidence_is_about_the_digest_that_was_measured(project):
    results = project.run()
    about_first = results["second"].evidence[0]
    assert about_first.subject.digest == results["first"].artifact.digest
    assert (about_first.subject.role, about_first.metric, about_first.value) == ("first", "length", 5.0)
    assert results["first"].evidence[0].subject.digest == results["first"].artifact.digest


def test_every_step_leaves_a_signed_statement_about_its_output(project):
    results = project.run()
    keys = trusted(project.home.keys)
    said = dsse.unseal(project.shop.blobs.read(results["first"].envelope), keys)
    assert said["predicateType"] == "https://slsa.dev/provenance/v1"
    digest = results["first"].artifact.digest.removeprefix("sha256:")
    assert said["subject"] == [{"name": "first", "digest": {"sha256": digest}}]
    evidence = said["predicate"]["runDetails"]["byproducts"][0]["annotations"]["evidence"]
    assert [one["metric"] for one in evidence] == ["rows"]


def test_every_step_is_in_the_ledger(project):
    project.run()
    assert [entry.what for entry in ledger.entries(project.shop.database)] == ["stage first", "stage second"]


@pytest.mark.parametrize(
    ("mode", "kind", "says"),
    [
        ("crash", GuidewayError, "stage first failed: ValueError: a bad thing"),
        ("full", Unavailable, "stage first failed: the disk is full"),
        ("lacks", Unavailable, "stage first failed: opacus is not installed (pip install 'guideway[private]')"),
        ("wrapped", Unavailable, "stage first failed: the disk is full"),
        ("kill", GuidewayError, "stage first was killed"),
    ],
)
def test_a_stage_that_fails_is_told_in_one_line_and_leaves_nothing(project, mode, kind, says):
    with pytest.raises(GuidewayError) as caught:
        project.run(mode=mode)
    assert caught.value.exit_code == kind.exit_code
    assert str(caught.value).find(says) >= 0 and "\n" not in str(caught.value)
    assert isinstance(project.events[-1], StepFailed)
    assert steps.latest(project.shop.database, "first") is None
    assert list((project.home.run / "work").iterdir()) == []


def test_the_trace_of_a_failed_stage_is_in_its_log(project):
    with pytest.raises(GuidewayError):
        project.run(mode="crash")
    failed = project.events[-1]
    assert "Traceback" in Path(failed.log).read_text()


@pytest.mark.catalogue("A35")
def test_a_build_killed_in_a_stage_repeats_only_that_stage(project):
    project.run()
    project.ran()
    (project.root / "a.txt").write_text("changed")
    build = in_another_process(project, mode="hang")
    stage = int(wait_for(lambda: (path := project.root / "hanging").exists() and path.read_text()))
    os.kill(build.pid, signal.SIGKILL)
    build.wait()
    wait_for(lambda: not Path(f"/proc/{stage}").exists() or "Z" in Path(f"/proc/{stage}/stat").read_text().split()[2])
    project.run()
    assert project.ran() == ["first", "second"]
    assert list((project.home.run / "work").iterdir()) == []


def test_ctrl_c_ends_the_stage_too(project):
    build = in_another_process(project, mode="hang")
    stage = int(wait_for(lambda: (path := project.root / "hanging").exists() and path.read_text()))
    build.send_signal(signal.SIGINT)
    assert build.wait(20) != 0
    wait_for(lambda: not Path(f"/proc/{stage}").exists())
    assert list((project.home.run / "work").iterdir()) == []


def test_two_builds_at_once_do_the_work_once(project):
    builds = [in_another_process(project) for _ in range(2)]
    ran = [build.communicate(timeout=60)[0].strip() for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert sorted(",".join(ran).strip(",").split(",")) == ["first", "second"]
    project.ran()
    project.run()
    assert project.ran() == []


def test_a_build_that_waits_for_another_says_so(project):
    parts = key_parts(project.stages["first"], project.spec(), project.root, {}, project.shop.known)
    held, told = locked(project.home.run / "locks" / short(digest_of(parts))), []
    held.__enter__()

    def emit(event):
        told.append(event)
        if getattr(event, "note", "") == "another build is at it: waiting":
            held.__exit__(None, None, None)

    run_room.run(project.spec(), project.root, project.stages, project.shop, emit)
    assert "another build is at it: waiting" in [getattr(event, "note", "") for event in told]


def test_a_build_waits_for_the_one_that_runs_the_same_step(project):
    parts = key_parts(project.stages["first"], project.spec(), project.root, {}, project.shop.known)
    done = threading.Event()
    with locked(project.home.run / "locks" / short(digest_of(parts))):
        build = in_another_process(project)
        threading.Thread(target=lambda: (build.wait(), done.set()), daemon=True).start()
        assert not done.wait(1.5)
    assert done.wait(30)


def test_what_a_stage_is_asked_is_plain_json(project):
    project.run()
    log = project.home.logs / "build"
    assert sorted(path.name.split("-")[0] for path in log.iterdir()) == ["first", "second"]
    assert json.loads(json.dumps(dict(project.stages["first"].params(project.spec())))) == {"steps": 1, "mode": ""}
