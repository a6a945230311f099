"""Trials as processes: one that dies is a failed trial, and none outlives the search."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tune_works import Asked, bowl, cores, unlucky

from guideway.core.spec import Train, Tune
from guideway.pipeline.stages.tune.pool import Died, Done, Pool, Reported
from guideway.pipeline.stages.tune.search import search
from guideway.pipeline.stages.tune.study import opened

HERE = Path(__file__).parent
KILLED = """
import sys
sys.path[:0] = [{here!r}]
from pathlib import Path
from test_tune_pool import searched
if __name__ == "__main__":
    searched(Path({folder!r}), gate={gate!r})
"""


def searched(folder: Path, gate: str = "", **more):
    """Six trials, two at once, each noted in the file ``notes``."""
    space = {"learning_rate": {"low": 1e-5, "high": 1.0, "log": True}}
    tune = msgspec.convert({"search": space, "trials": 6, "parallel": 2, "prune": False, **more}, Tune)
    with opened(folder, tune, Train()) as study:
        asked = lambda trial: Asked(trial.parameters, notes=str(folder / "notes"), gate=gate)  # noqa: E731
        return search(study, Pool(bowl, tune.parallel), asked, lambda trials: None)


def wait_for(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        (1, "it was killed; perhaps memory ran out"),
        (2, "not enough memory"),
        (3, "ValueError: a bad thing"),
    ],
)
def test_work_that_dies_says_how_and_leaves_its_place(batch, reason):
    pool = Pool(unlucky, 1)
    pool.start(7, Asked({"batch": batch}))
    assert not pool.free
    assert pool.hear() == (7, Died(reason))
    pool.start(8, Asked({"batch": 4}))
    assert [pool.hear(), pool.hear()] == [(8, Reported(1, 1.0)), (8, Done([(1.0, 2)]))]
    assert pool.free and not pool.busy


def test_work_that_is_stopped_is_gone(tmp_path):
    (tmp_path / "gate").touch()
    pool = Pool(bowl, 1)
    pool.start(0, Asked({}, notes=str(tmp_path / "notes"), gate=str(tmp_path / "gate")))
    assert pool.hear() == (0, Reported(1, 1.0))
    pid = int((tmp_path / "notes").read_text().split()[0])
    pool.stop(0)
    assert pool.free and gone(pid)


def test_work_at_once_shares_the_cores_and_dies_first_when_memory_runs_out(tmp_path):
    gate = tmp_path / "gate"
    gate.touch()
    pool = Pool(cores, 2)
    for number in (0, 1):
        pool.start(number, Asked({}, gate=str(gate)))
    gate.unlink()
    found = dict(pool.hear() for _ in range(2))
    all_cores = os.sched_getaffinity(0)
    assert {core for done in found.values() for core in done.found[0]} == all_cores
    if len(all_cores) > 1:
        assert not set(found[0].found[0]) & set(found[1].found[0])
    assert all(done.found[1] > int(Path("/proc/self/oom_score_adj").read_text()) for done in found.values())


def test_a_search_killed_with_trials_running_repeats_those_alone(tmp_path):
    gate = tmp_path / "gate"
    code = KILLED.format(here=str(HERE), folder=str(tmp_path), gate=str(gate))
    script = tmp_path / "script.py"
    script.write_text(code)
    gate.touch()
    process = subprocess.Popen([sys.executable, str(script)])
    notes = tmp_path / "notes"
    begun = wait_for(lambda: notes.exists() and len(lines := notes.read_text().splitlines()) == 2 and lines)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for line in begun:
        wait_for(lambda line=line: gone(int(line.split()[0])))
    gate.unlink()
    trials = searched(tmp_path)
    tried = [line.partition(" ")[2] for line in notes.read_text().splitlines()]
    assert len(trials) == 6 and all(one.state == "complete" for one in trials.values())
    assert len(tried) == 8 and len(set(tried)) == 6
    assert {one for one in tried if tried.count(one) == 2} == set(tried[:2])
