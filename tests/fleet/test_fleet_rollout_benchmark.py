"""The rows of the rollouts' benchmark: what is enough and what is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kill_rig import Killed

from guideway.core.rollout import Phase

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.rollout import Handover, _kill_rows, _rows


@pytest.mark.parametrize(("late", "broken", "ok"), [(0.1, [], [True, True]), (0.101, ["stream: torn"], [False, False])])
def test_a_handover_may_take_a_tenth_of_a_second_and_break_nothing(late, broken, ok):
    rows = _rows(Handover("verdict", 50, [0.0, late, 0.0], [], 300, 5, broken))
    assert [one.ok for one in rows] == ok
    assert rows[0].value == pytest.approx(late * 1000)
    assert all(one.peer is None for one in rows)


def killed(**changes) -> Killed:
    plain = {"phase": Phase.DONE, "terminal": 1.0, "settled": 2.0, "asked": 9, "errors": 0, "counted": 5}
    return Killed(**{**plain, "broken": [], "wrong": [], **changes})


def test_of_many_kills_the_worst_one_counts():
    assert all(one.ok for one in _kill_rows([killed()] * 3))
    torn, late, wrong = killed(broken=["x"]), killed(terminal=31.0, settled=32.0), killed(wrong=["y"])
    assert not any(one.ok for one in _kill_rows([killed(), torn, late, wrong]))
