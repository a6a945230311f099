"""A search on a real Ray cluster of two nodes: the same bytes as here, and a worker that is lost changes nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pytest
from ray_rig import ours, wait_for
from stage_rig import FakeJob, colour_rows, colour_spec, read_jsonl, run_stage, write_jsonl

from guideway.core.errors import GuidewayError, Unavailable
from guideway.pipeline.stages import train, tune

pytestmark = pytest.mark.thorough
SEARCH = {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}, "batch": {"choices": [8, 16]}}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Rows, cleaned and split."""
    root = tmp_path_factory.mktemp("tune-on-ray")
    write_jsonl(root / "rows.jsonl", colour_rows())
    run_stage("data", colour_spec(), root, root / "data")
    return root


def job_of(root: Path, name: str, kind: type[FakeJob] = FakeJob, runner=None, **more) -> FakeJob:
    plain = {**train.params(colour_spec()), "steps": 20, "learning_rate": 1e-4, "warmup": 2}
    asked = {"search": SEARCH, "trials": 2, "steps": 10, "seed": 3, **more}
    spec = colour_spec(train=plain, tune=asked, runner=runner or {})
    job = kind(dict(tune.params(spec)), {"data": root / "data"}, root, root / name)
    job.runner = dict(tune.runs_on(spec))
    return job


@pytest.fixture(scope="module")
def here(prepared) -> FakeJob:
    """The same search by processes of this machine."""
    forkserver._forkserver._stop()  # one that other tests started has not imported what trials need
    job = job_of(prepared, "here")
    tune.run(job)
    return job


def files_of(job: FakeJob) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in job.out.iterdir()}


def ray(address: str, **more) -> dict:
    return {"kind": "ray", "address": address, **more}


def test_a_search_on_a_cluster_leaves_the_same_bytes_as_one_here(prepared, here, ray_cluster):
    job = job_of(prepared, "there", runner=ray(ray_cluster))
    tune.run(job)
    assert files_of(job) == files_of(here) and job.facts == here.facts
    assert job.heard == here.heard and job.moved[-1] == here.moved[-1]
    wait_for(lambda: not trials())


def trials() -> list[int]:
    """The processes of the cluster that train for a search."""
    return ours(b"ray::work")


@contextmanager
def watched() -> Iterator[list[int]]:
    """How many processes trained at once, at each of many looks."""
    counts: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            counts.append(len(trials()))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield counts
    finally:
        over.set()
        thread.join()


def test_trials_run_at_once_as_many_as_the_cluster_has_room_for_and_are_ended_when_they_fall_behind(
    prepared, ray_cluster
):
    job = job_of(prepared, "many", runner=ray(ray_cluster), trials=8, parallel=6, sampler="random")
    with watched() as counts:
        tune.run(job)
    assert max(counts) == 2
    found = read_jsonl(job.out / "trials.jsonl")
    states = {one["state"] for one in found}
    assert len(found) == 8 and "pruned" in states and states <= {"complete", "pruned"}


class Killer(FakeJob):
    """Kills the worker that trains, once, when it has been heard."""

    dead = False

    def progress(self, done, total, note=""):
        super().progress(done, total, note)
        if not self.dead and trials():
            self.dead = True
            os.kill(trials()[-1], signal.SIGKILL)


def test_a_trial_whose_worker_is_killed_is_tried_again_and_ends_the_same(prepared, here, ray_cluster):
    job = job_of(prepared, "killed", Killer, ray(ray_cluster))
    tune.run(job)
    assert job.dead and files_of(job) == files_of(here)
    assert any("1 begun again on another worker" in one for one in job.facts)


def test_a_trial_that_no_machine_has_room_for_is_refused(prepared, ray_cluster):
    with pytest.raises(Unavailable, match="a trial needs 2 CPUs, and no machine of the cluster has them"):
        tune.run(job_of(prepared, "wide", runner=ray(ray_cluster, cpus=2)))


def test_a_worker_with_other_libraries_ends_the_search(prepared, ray_cluster, monkeypatch):
    from guideway.pipeline.stages.tune import on_ray

    monkeypatch.setattr(on_ray, "versions_of", lambda names: {"torch": "0.1"})
    with pytest.raises(GuidewayError, match=r"a worker on .* has torch .*, and this machine 0\.1"):
        tune.run(job_of(prepared, "other", runner=ray(ray_cluster)))
    assert not (prepared / "other" / "best.json").exists()
