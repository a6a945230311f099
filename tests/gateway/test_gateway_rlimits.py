"""What processes of ours may: open files for the connections they were promised, and leave no core behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gateway_rig import wait_for
from system_rig import System, replicas

from guideway.gateway.rlimits import PER_CLIENT, RESERVE

__all__ = ["replicas"]
SAY = "from guideway.gateway import rlimits; import resource; print({}, *resource.getrlimit(resource.RLIMIT_NOFILE))"


def said(expression, shell):
    """What a process says that was started under the limits of *shell*."""
    words = ["sh", "-c", f'{shell}; exec "$0" "$@"', sys.executable, "-c", SAY.format(expression)]
    return [int(word) for word in subprocess.check_output(words, text=True).split()]


@pytest.mark.parametrize(
    ("shell", "wanted", "says"),
    [
        ("ulimit -Sn 300; ulimit -Hn 4000", 1000, [1000, 1000 * PER_CLIENT + RESERVE, 4000]),
        ("ulimit -Sn 300; ulimit -Hn 1064", 1000, [500, 1064, 1064]),
        ("ulimit -Sn 3000; ulimit -Hn 4000", 1000, [1000, 3000, 4000]),
    ],
)
def test_the_soft_limit_is_raised_as_far_as_the_hard_one_allows_and_the_rest_is_kept_for_files(shell, wanted, says):
    assert said(f"rlimits.connections({wanted})", shell) == says


def core_limit(pid):
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line.split()[4:6] for line in lines if line.startswith("Max core file size"))


class Dumping(System):
    """A gateway that was started where cores are wanted."""

    @property
    def argv(self):
        return ["sh", "-c", 'ulimit -Sc "$(ulimit -Hc)"; exec "$0" "$@"', *super().argv]


@pytest.fixture
def dumping(tmp_path, replicas, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Dumping(tmp_path)
    yield one.serve(replicas())
    one.stop()


def test_no_process_of_a_gateway_leaves_a_core(dumping, tmp_path):
    companions = [dumping.companion(name) for name in ("limits", "admin", "batches")]
    workers = dumping.workers
    for pid in [dumping.process.pid, *workers, *companions]:
        assert core_limit(pid) in (["0", "0"], ["1", "1"]), pid
    for pid, number in zip(workers, (signal.SIGSEGV, signal.SIGABRT), strict=True):
        os.kill(pid, number)
    wait_for(lambda: not set(workers) & set(dumping.workers), 20)
    assert not [path for path in tmp_path.rglob("core*") if path.is_file()]
