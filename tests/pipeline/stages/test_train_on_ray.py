"""Training on a real Ray cluster of two nodes: the same bytes as here, and a worker that is lost costs a few steps."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stage_rig import FakeJob, colour_rows, colour_spec, run_stage, write_jsonl

from guideway.core.errors import GuidewayError, Unavailable
from guideway.pipeline.stages import train

pytestmark = pytest.mark.thorough
LONG = {"steps": 24, "batch": 7, "processes": 2, "validate_every": 6, "checkpoint_every": 2}
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1", "--disable-usage-stats"]
TOKEN = secrets.token_hex(32)
"""Whoever lacks it can start nothing there. It also marks the processes that are ours to end."""
PATIENT = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_raylet_start_wait_time_s": "240"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(host: str, *flags: str, log: Path) -> subprocess.Popen:
    """One node on an address of the loopback interface; it does not know where Guideway lies."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    agent = f"--dashboard-agent-listen-port={free_port()}"
    with log.open("wb") as output:
        argv = [*RAY, f"--node-ip-address={host}", "--object-store-memory=150000000", agent, *flags]
        return subprocess.Popen(argv, stdout=output, stderr=output, env=env, start_new_session=True)


def ours() -> list[int]:
    """The processes of this cluster."""
    mark, found = f"RAY_AUTH_TOKEN={TOKEN}".encode(), []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return sorted(set(found) - {os.getpid()})


def wait_for(condition, seconds: float = 240.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[str]:
    """The address of a head with one processor, and of another node with one, on loopback."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # sockets lie in it: the path must be short
    address = f"127.0.0.2:{free_port()}"
    logs = [folder / "head.log", folder / "node.log"]
    up = b"Ray runtime started"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATIENT.items():
            patch.setenv(name, value)
        head = ("--head", f"--port={address.partition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}/t")
        try:
            nodes = [started("127.0.0.2", *head, log=logs[0])]
            wait_for(lambda: up in logs[0].read_bytes())
            nodes.append(started("127.0.0.3", f"--address={address}", log=logs[1]))
            wait_for(lambda: up in logs[1].read_bytes())
            yield address
        finally:
            for pid in ours():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for one in nodes:
                one.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


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
    assert same(job, here) and job.facts == here.facts and job.heard == here.heard
    assert job.moved[-1] == (24, 24)


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
    return [pid for pid in ours() if b"RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


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
