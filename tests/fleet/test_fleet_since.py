"""For how long something has been as it is: by a steady clock, and by the wall only before we began."""

from __future__ import annotations

import msgspec
import pytest

from guideway.core.launch import Process, Replica
from guideway.core.rollout import Phase, Rollout
from guideway.fleet.since import Since

DONE = Rollout("r", "dev", "sha256:new", "sha256:old", Phase.DONE, 1000.0, 1000.0, ready_within=60.0, bake=300.0)


@pytest.fixture
def clock():
    return [0.0]


def since(clock: list[float], began: float) -> Since:
    return Since(lambda: clock[0], began)


@pytest.mark.parametrize(("began", "before"), [(1200.0, 200.0), (1000.0, 0.0), (400.0, 0.0)])
def test_what_baked_before_we_began_is_what_the_clock_says_and_never_less_than_nothing(clock, began, before):
    ours = since(clock, began)
    clock[0] = 50.0
    assert ours.baked("dev", DONE) == pytest.approx(before + 50.0 * (before > 0 or began == 1000.0))


def test_what_is_done_in_our_time_bakes_by_the_steady_clock_whatever_its_date_says(clock):
    ours = since(clock, 5000.0)
    assert ours.baked("dev", None) == 0.0
    clock[0] = 50.0
    assert ours.baked("dev", DONE) == 0.0
    clock[0] = 80.0
    assert ours.baked("dev", DONE) == 30.0


def test_a_rollout_waits_since_it_came_into_its_phase(clock):
    ours = since(clock, 5000.0)
    starting = msgspec.structs.replace(DONE, phase=Phase.STARTING)
    assert ours.waited("dev", starting) == 0.0
    clock[0] = 30.0
    assert ours.waited("dev", starting) == 30.0
    assert ours.waited("dev", msgspec.structs.replace(starting, paused=True)) == 30.0
    assert ours.waited("dev", msgspec.structs.replace(starting, phase=Phase.CANARY)) == 0.0
    assert ours.waited("prod", starting) == 0.0


def test_a_replica_that_came_back_under_its_id_begins_anew(clock):
    ours = since(clock, 5000.0)
    one = Replica("a", "dev", "sha256:new", 1, Process(1, "x"), "starting", "log", 0.0)
    assert ours.starting([one]) == {"a": 0.0}
    clock[0] = 30.0
    assert ours.starting([one, msgspec.structs.replace(one, id="b", state="ready")]) == {"a": 30.0}
    ours.forget("a")
    assert ours.starting([one]) == {"a": 0.0}
