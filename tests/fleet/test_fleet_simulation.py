"""Controller, gateway, replicas, users, people and faults in simulated time: from a seed, and again from the same seed.

What is checked all along is in `simulation/invariants.py`; a seed that fails is played again with
``PYTHONPATH=src:tests/fleet python -m simulation --seed N --trace``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from simulation.__main__ import results_of, what_is_wrong
from simulation.run import run
from system_rig import drill

from guideway.core.rollout import Phase
from guideway.fleet import acting, decide
from guideway.fleet.controller import Controller
from guideway.store import canaries

pytestmark = pytest.mark.thorough

HERE = Path(__file__).parent


def simulation(*arguments: object) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(HERE), str(HERE.parents[1] / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "random"}
    argv = [sys.executable, "-m", "simulation", *map(str, arguments)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.catalogue("A1")
def test_whatever_goes_wrong_nothing_is_lost_doubled_left_over_or_undeserved():
    seeds = drill(24, 3000)
    if seeds <= 100:
        wrong = what_is_wrong(results_of(range(seeds)))
        assert not wrong, "\n".join(wrong)
        return
    parts = os.cpu_count() or 1
    each = -(-seeds // parts)
    running = [simulation("--from", part * each, "--to", min(seeds, (part + 1) * each)) for part in range(parts)]
    said = [one.communicate()[0] for one in running]
    wrong = [line for text in said for line in text.splitlines() if "seed " in line]
    assert [one.returncode for one in running] == [0] * parts, "\n".join(wrong or said)


VIEW = Controller._view


def by_the_wall(self, state):
    """A view in which the release before bakes by the clock that people can set."""
    view = VIEW(self, state)
    return msgspec.structs.replace(view, baked=self.clock() - view.last_done.updated) if view.last_done else view


@pytest.mark.parametrize(
    ("room", "name", "mutant", "seed", "said"),
    [
        (decide, "SETTLE", -1.0, 2, "is stopped while w1 sends requests there"),
        (decide, "warm_release", lambda view: None, 0, "of the release before is stopped while"),
        (Controller, "_view", by_the_wall, 82, "of the release before is stopped while"),
        (Controller, "_reroute", lambda self, state: None, 2, "is over, and its candidate is on the route"),
        (canaries, "put_positions", lambda *some: None, 0, "counted"),
        (acting, "project_route", lambda *some: None, 0, "the file does not follow the row"),
    ],
)
def test_the_simulation_finds_what_is_wrong(monkeypatch, room, name, mutant, seed, said):
    monkeypatch.setattr(room, name, mutant)
    assert said in run(seed).broken


def test_the_same_seed_plays_the_same_story_in_any_process():
    for seed in (3, 24):
        said = simulation("--seed", seed).communicate()[0]
        assert run(seed).trace[:16] in said
    assert run(3).trace != run(4).trace


def test_a_failing_seed_says_how_to_play_it_again():
    result = run(5)._replace(broken="seed 5, at 1.000 s: something is wrong")
    (said,) = what_is_wrong([result])
    assert "something is wrong" in said
    assert "python -m simulation --seed 5 --trace" in said


def test_a_trace_tells_what_happened():
    lines: list[str] = []
    result = run(3, lines.append)
    assert result.first and result.first.phase.final
    assert any(f"{result.first.id} of bb {Phase.PENDING}" in line for line in lines)
    assert any("route" in line for line in lines)
