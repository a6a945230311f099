"""A stage that shares a budget with earlier steps is told what they measured."""

from __future__ import annotations

import importlib

import pytest

from guideway.kit.files import locked
from guideway.pipeline.recall import recalled


@pytest.fixture
def spender(project):
    project.stages = {"spender": importlib.import_module("fake_spender")}
    return lambda **changes: project.run(**changes)["spender"].facts


def test_a_stage_learns_what_earlier_steps_measured(spender):
    assert [spender(seed=seed) for seed in (1, 2, 3)] == [("before: 0",), ("before: 1",), ("before: 2",)]


def test_going_back_to_what_was_done_spends_nothing(spender):
    spender(seed=1)
    assert spender(seed=1) == ("before: 0",)
    assert spender(seed=2) == ("before: 1",)


def test_a_stage_that_does_not_ask_is_told_nothing(spender):
    spender(seed=1)
    assert spender(seed=2, mode="alone") == ("before: 0",)


def test_two_that_share_a_budget_do_not_work_at_the_same_time(project):
    with recalled(project.shop, ("spent",)), locked(project.home.run / "locks" / "recall", wait=False) as alone:
        assert not alone
    with recalled(project.shop, ()), locked(project.home.run / "locks" / "recall", wait=False) as alone:
        assert alone
