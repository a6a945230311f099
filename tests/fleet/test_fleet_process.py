"""``python -m guideway.fleet``: one controller a home, ended by a signal or by having nothing to do."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from guideway.cli.controller import unit_of
from guideway.cli.status import _controller as said
from guideway.fleet.look import controller_runs, look
from guideway.kit.files import locked
from guideway.kit.process import start_time
from guideway.store import fleet as rows
from guideway.store.home import Home


@pytest.fixture
def controller(fleet):
    """Start controllers of the home as processes; each says in one line that it acts."""
    running: list[subprocess.Popen[str]] = []

    def start(*, stays: bool = False) -> subprocess.Popen[str]:
        program = ["guideway.cli", "controller"] if stays else ["guideway.fleet", "--home", str(fleet.home.path)]
        argv = [sys.executable, "-P", "-m", *program]
        variables = {**os.environ, "GUIDEWAY_HOME": str(fleet.home.path)} if stays else None
        running.append(subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=variables))
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


@pytest.mark.catalogue("A1")
def test_one_that_stays_waits_for_its_turn_and_acts_once_the_other_is_killed(fleet, controller):
    fleet.served()
    before = fleet.replicas()
    first = controller(stays=True)
    assert "for: dev" in hello(first)
    second = controller(stays=True)
    assert hello(second) == "another controller acts; this one waits until it ends\n"
    first.kill()
    assert "acts with epoch" in hello(second)
    assert fleet.replicas() == before
    assert fleet.home.round_age(time.time()) < 60.0
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0
    assert all(start_time(one.process.pid) == one.process.started for one in before)


def test_one_that_waits_ends_by_a_signal_too(controller):
    assert "acts" in hello(controller(stays=True))
    second = controller(stays=True)
    assert "waits" in hello(second)
    second.send_signal(signal.SIGINT)
    assert second.wait(30) == 0


def test_one_that_stays_has_nothing_to_do_and_waits_for_work(fleet, controller):
    process = controller(stays=True)
    assert "for: nothing yet" in hello(process)
    rollout = fleet.ship(admitted=False)
    deadline = time.monotonic() + 30.0
    while not fleet.rollout(rollout.id).phase.final:
        assert time.monotonic() < deadline
        assert process.poll() is None
        fleet.controller.stopping.wait(0.05)


def test_one_that_stays_ends_with_an_error_when_the_state_is_deleted(fleet, controller):
    process = controller(stays=True)
    assert "acts" in hello(process)
    for path in fleet.home.path.glob("state.db*"):
        path.unlink()
    assert process.wait(30) == 5
    assert process.stderr.read().endswith("the state is gone\n")


def test_status_says_that_no_controller_runs_and_that_one_stands_still(fleet):
    gone = look(fleet.home, fleet.database, "dev")
    assert said(gone).startswith("not running (the next command starts it, and so does `guideway controller`")
    with locked(fleet.home.controller):
        assert said(look(fleet.home, fleet.database, "dev")) == "running"
        os.utime(fleet.home.controller, (1.0, time.time() - 3600.0))
        assert said(look(fleet.home, fleet.database, "dev")).startswith("running, but its last round was")


def test_a_unit_file_names_this_project_and_lets_what_runs_outlive_the_controller():
    home = Home(Path("/srv/100% ours/.guideway"))
    lines = unit_of(home, Path("/srv/100% ours/guideway.yaml")).splitlines()
    assert 'Environment="GUIDEWAY_HOME=/srv/100%% ours/.guideway"' in lines
    started = f'ExecStart="{sys.executable}" -P -m guideway.cli controller -f "/srv/100%% ours/guideway.yaml"'
    assert started in lines
    assert {"KillMode=process", "OOMPolicy=continue", "Restart=always"} <= set(lines)


def test_whoever_only_looks_at_the_lock_does_not_keep_it_from_acting(fleet, controller):
    fleet.ship(admitted=False)
    with locked(fleet.home.controller):
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
