"""``python -m guideway.fleet``: one controller a home, ended by a signal or by having nothing to do."""

from __future__ import annotations

import select
import signal
import subprocess
import sys

import pytest

from guideway.fleet.look import controller_runs
from guideway.kit.files import locked
from guideway.kit.process import start_time
from guideway.store import fleet as rows


@pytest.fixture
def controller(fleet):
    """Start controllers of the home as processes; each says in one line that it acts."""
    running: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        argv = [sys.executable, "-P", "-m", "guideway.fleet", "--home", str(fleet.home.path)]
        running.append(subprocess.Popen(argv, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def hello(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return process.stderr.readline()


def test_with_nothing_to_do_it_ends(controller):
    process = controller()
    assert process.wait(30) == 0
    assert "acts with epoch" in hello(process)


@pytest.mark.catalogue("A9")
def test_a_second_one_does_not_act(fleet, controller):
    fleet.ship(admitted=False, ready_within=0.1)  # it is refused, and the environment stays up
    first = controller()
    assert hello(first).endswith("for: dev\n")
    epoch = rows.current_epoch(fleet.database)
    second = controller()
    assert second.wait(30) == 0
    assert hello(second) == ""
    assert rows.current_epoch(fleet.database) == epoch
    assert controller_runs(fleet.home)


def test_whoever_only_looks_at_the_lock_does_not_keep_it_from_acting(fleet, controller):
    fleet.ship(admitted=False)
    with locked(fleet.home.run / "controller.lock"):
        process = controller()
        assert not select.select([process.stderr], [], [], 0.5)[0]
    assert "acts with epoch" in hello(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_nothing_else(fleet, controller, number):
    rollout = fleet.served()
    before = fleet.replicas()
    process = controller()
    assert "for: dev" in hello(process)
    process.send_signal(number)
    assert process.wait(30) == 0
    assert not controller_runs(fleet.home)
    assert fleet.replicas() == before
    assert all(start_time(one.process.pid) == one.process.started for one in before)
    assert fleet.rollout(rollout.id) == rollout


def test_when_everything_is_down_it_stops_what_is_left_and_ends(fleet, controller):
    fleet.served()
    fleet.down()
    process = controller()
    assert process.wait(30) == 0
    assert fleet.processes() == set()
    assert fleet.replicas() == []


def test_it_starts_without_the_parts_of_the_gateway_that_only_golden_prompts_need():
    asked = "import sys, guideway.fleet.__main__; print('guideway.gateway.prepare' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_a_state_that_cannot_be_read_is_one_line_and_an_exit_code(fleet, controller):
    for path in fleet.home.path.glob("state.db*"):
        path.unlink()
    fleet.home.database.write_bytes(b"this is no database, and never was one" * 100)
    process = controller()
    assert process.wait(30) == 4
    assert process.stderr.read().endswith("(restore it from a backup)\n")
