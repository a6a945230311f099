"""Killed at any named point of a canary under load, the next controller ends it: nobody's request fails."""

from __future__ import annotations

import pytest
from kill_controller import POINTS
from kill_rig import killed_at, town
from system_rig import DRILLS, drill

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    """The one town of this module; another one after a test that went wrong."""
    kept = []
    yield kept
    for _, context in kept:
        context.__exit__(None, None, None)


@pytest.fixture
def a_town(towns, request, tmp_path_factory):
    if not towns:
        context = town(tmp_path_factory.mktemp("town"))
        towns.append((context.__enter__(), context))
    yield towns[0][0]
    if getattr(request.node, "went_wrong", True):
        towns.pop()[1].__exit__(None, None, None)


@pytest.mark.catalogue("A1")
@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
def test_killed_at_every_point_of_one_rollout_after_the_other_it_ends_all_the_same(a_town, request, bad):
    points = [one for one in POINTS if one.bad is bad]
    killed = killed_at(a_town, points, 0)
    assert killed.wrong == []
    assert killed.asked > killed.counted > 0
    request.node.went_wrong = False


@pytest.mark.catalogue("A1")
@pytest.mark.parametrize("point", POINTS if DRILLS else POINTS[::6], ids=lambda point: point.name)
def test_killed_at_one_point_of_a_rollout_nobody_notices_and_the_next_controller_ends_it(a_town, request, point):
    for seed in range(drill(1, 20)):
        killed = killed_at(a_town, [point], seed)
        assert killed.wrong == []
        assert killed.asked > killed.counted > 0
    request.node.went_wrong = False
