"""The files in which workers tell their load: what is summed, what is stale, and that no count is lost or doubled."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from guideway.core.load import WAITS, Load, WorkerLoad
from guideway.kit.process import start_time
from guideway.store.load import STALE_SECONDS, read_load, take_over, write_load


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "load"
    made.mkdir()
    return made


def leave(folder, name, at=100.0, **load):
    waits = (1, *(0,) * len(WAITS))
    told = WorkerLoad(at, "poet", Load(**{"workers": 1, "running": 2, "finished": 10, "waits": waits, **load}))
    (folder / f"{name}.json").write_bytes(msgspec.json.encode(told))


def lives(pid, started):
    return pid < 1000


def test_what_workers_tell_is_added_up(folder):
    leave(folder, "1-a", waiting=1, batch_running=3)
    leave(folder, "2-b", batch_waiting=4, batch_finished=5)
    found = read_load(folder, 101.0, lives)
    assert (found.workers, found.running, found.waiting, found.finished) == (2, 4, 1, 20)
    assert (found.batch_running, found.batch_waiting, found.batch_finished, found.waits[0]) == (3, 4, 5, 2)


def test_of_a_worker_that_is_gone_only_what_it_had_finished_counts(folder):
    leave(folder, "1-a")
    leave(folder, "1001-b", waiting=9)
    found = read_load(folder, 101.0, lives)
    assert (found.workers, found.running, found.waiting, found.finished, found.waits[0]) == (1, 2, 0, 20, 1)


@pytest.mark.parametrize("at", [100.0 - STALE_SECONDS - 0.1, 100.0 + STALE_SECONDS + 0.1])
def test_a_file_that_is_old_or_from_another_time_tells_nothing_of_now(folder, at):
    leave(folder, "1-a", at=at)
    found = read_load(folder, 100.0, lives)
    assert (found.workers, found.running, found.finished) == (0, 0, 10)


def test_nothing_there_is_no_load(tmp_path):
    assert read_load(tmp_path / "none", 1.0) == Load()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"at":1,"model":"m","load":{"waits":[1]}}'])
def test_what_cannot_be_read_is_left_out(folder, data):
    (folder / "1-a.json").write_bytes(data)
    leave(folder, "2-b")
    assert read_load(folder, 101.0, lives).finished == 10


def test_who_starts_goes_on_counting_where_the_dead_ended(folder):
    leave(folder, "1-a")
    leave(folder, "1001-b", batch_finished=3)
    leave(folder, "1002-c")
    before = read_load(folder, 101.0, lives).finished
    taken = take_over(folder, lives)
    assert (taken.workers, taken.running, taken.finished, taken.batch_finished) == (0, 0, 20, 3)
    leave(folder, "3-d", finished=taken.finished)
    assert read_load(folder, 101.0, lives).finished == before
    assert sorted(one.name for one in folder.iterdir()) == ["1-a.json", "3-d.json"]
    assert take_over(folder, lives) == Load()


def test_a_real_worker_is_known_by_its_process_and_forgotten_with_it(folder):
    code = (
        "import sys; from pathlib import Path; from guideway.core.load import *; from guideway.store.load import *\n"
        "write_load(Path(sys.argv[1]), WorkerLoad(100.0, 'poet', Load(workers=1, running=1, finished=4)))\n"
        "print(flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        alive = read_load(folder, 100.0)
        child.stdin.close()
        child.wait(10)
    assert (alive.workers, alive.running) == (1, 1)
    gone = read_load(folder, 100.0)
    assert (gone.workers, gone.running, gone.finished) == (0, 0, 4)


def test_a_file_is_named_after_its_process_and_is_private(folder):
    write_load(folder, WorkerLoad(1.0, "poet", Load()))
    (path,) = folder.iterdir()
    assert path.name == f"{os.getpid()}-{start_time(os.getpid())}.json"
    assert path.stat().st_mode & 0o777 == 0o600
