"""Training on a real Ray cluster of two nodes: the same bytes as here, and a worker that is lost costs a few steps."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from ray_rig import free_port, ours
from stage_rig import FakeJob, colour_rows, colour_spec, run_stage, write_jsonl

from guideway.core.errors import GuidewayError, Unavailable
from guideway.pipeline.stages import train
from guideway.pipeline.stages.train.checkpoints import KEPT

pytestmark = pytest.mark.thorough
LONG = {"steps": 24, "batch": 7, "processes": 2, "validate_every": 6, "checkpoint_every": 2}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """Rows, cleaned and split."""
    root = tmp_path_factory.mktemp("on-ray")
    write_jsonl(root / "rows.jsonl", colour_rows())
    run_stage("data", colour_spec(), root, root / "data")
    return root


def job_of(root: Path, name: str, kind: type[FakeJob] = FakeJob, address: str = "", **more) -> FakeJob:
    spec = colour_spec(
        train={**train.params(colour_spec()), **LONG, **more}, runner={"kind": "ray", "address": address}
    )
    job = kind(dict(train.params(spec)), {"data": root / "data"}, root, root / name)
    job.runner = dict(train.runs_on(spec))
    return job


@pytest.fixture(scope="module")
def here(prepared) -> FakeJob:
    """The same training by two processes of this machine."""
    job = job_of(prepared, "here")
    job.runner = {}
    train.run(job)
    return job


def same(one: FakeJob, other: FakeJob) -> bool:
    files = [{path.name: path.read_bytes() for path in job.out.iterdir()} for job in (one, other)]
    return files[0] == files[1]


def test_workers_on_two_nodes_leave_the_same_bytes_as_two_processes_here(prepared, here, ray_cluster):
    job = job_of(prepared, "there", address=ray_cluster)
    train.run(job)
    assert same(job, here) and job.facts == here.facts
    assert job.one("train_loss") == here.one("train_loss") and job.one("resource_use_share").value > 0
    assert job.moved[-1] == (24, 24)
    assert 1 <= len(list(job.resume.glob("step-*"))) <= KEPT


class Killer(FakeJob):
    """Kills the second worker once, when a checkpoint has come here."""

    dead = False

    def progress(self, done, total, note=""):
        super().progress(done, total, note)
        if not self.dead and list(self.resume.glob("step-*")):
            self.dead = True
            os.kill(workers()[-1], signal.SIGKILL)


def workers() -> list[int]:
    """The processes of this cluster that train."""
    return ours(b"RayTrainWorker")


def test_when_a_worker_is_killed_ray_begins_anew_at_our_checkpoint_and_it_ends_the_same(prepared, here, ray_cluster):
    job = job_of(prepared, "killed", Killer, ray_cluster)
    train.run(job)
    assert job.dead and any("went on from the checkpoint" in one for one in job.facts)
    assert same(job, here)


def test_a_loss_that_is_no_number_is_told_at_once_and_not_tried_again(prepared, ray_cluster):
    job = job_of(prepared, "broken", address=ray_cluster, learning_rate=1e30, warmup=0)
    with pytest.raises(GuidewayError, match=r"the loss became (nan|inf) at step \d+"):
        train.run(job)


def test_more_processes_than_the_cluster_has_room_for_are_refused(prepared, ray_cluster):
    with pytest.raises(Unavailable, match="5 processes need 5 CPUs, and the cluster has 2"):
        train.run(job_of(prepared, "many", address=ray_cluster, processes=5))


def test_a_cluster_that_does_not_answer_is_one_clear_line(prepared, ray_cluster):
    with pytest.raises(Unavailable, match="the Ray cluster does not answer"):
        train.run(job_of(prepared, "nobody", address=f"127.0.0.1:{free_port()}"))
