"""As many replicas as the load needs: the controller starts and stops them by what gateway workers tell."""

from __future__ import annotations

import os
import signal
import time

import msgspec
import pytest
from canary_rig import ASKED, begun, canary
from fleet_rig import NEW, OLD, alive

from guideway.core.load import Load
from guideway.core.rollout import Phase, Shape
from guideway.core.spec.scale import Scale
from guideway.fleet.scaler import Scaling
from guideway.store import canaries, ledger
from guideway.store import fleet as rows

SCALE = Scale(min=1, max=3, settle=60.0)
QUIET = Load(workers=1)


class Hours:
    """A clock of 1970 that a test moves on, in steps as large as the scaler looks."""

    def __init__(self, fleet) -> None:
        self.fleet, self.ahead, self.done = fleet, 0.0, 0
        fleet.now = lambda: time.time() + self.ahead

    def go(self, seconds: float, *, running: int = 0, waiting: int = 0, each: float = 0.0) -> None:
        """*seconds* with so many requests under way, so many that wait, and *each* that end per second."""
        for _ in range(int(seconds / 5.0)):
            self.ahead += 5.0
            self.done += int(each * 5.0)
            self.fleet.load = Load(workers=1, running=running, waiting=waiting, finished=self.done)
            self.fleet.controller.once()


@pytest.fixture
def hours(fleet):
    return Hours(fleet)


def places(fleet) -> int:
    return len(fleet.ports())


def scaled(fleet) -> list[str]:
    return [one.why.split(":")[0] for one in ledger.entries(fleet.database, what="scale")]


def test_more_load_than_one_replica_can_do_starts_more_and_the_ledger_says_why(fleet, hours):
    fleet.served(NEW, replicas=1, scale=SCALE)
    hours.go(60, running=64, waiting=100, each=10.0)
    fleet.until(lambda: places(fleet) == 3)
    assert all(alive(one) for one in fleet.replicas(NEW))
    assert scaled(fleet)[-1].startswith("1 to 3")


def test_when_less_was_enough_for_long_enough_what_is_not_needed_drains_and_stops(fleet, hours):
    fleet.served(NEW, replicas=3, scale=SCALE)
    hours.go(300, running=1, each=1.0)
    fleet.until(lambda: places(fleet) < 3)
    fleet.until(lambda: len(fleet.replicas(NEW)) == places(fleet))
    assert all(one.state == "ready" for one in fleet.replicas(NEW))


def test_a_load_that_nobody_tells_changes_nothing(fleet, hours):
    fleet.served(NEW, replicas=2, scale=SCALE)
    for _ in range(100):
        hours.ahead += 5.0
        fleet.load = Load()
        fleet.controller.once()
    assert places(fleet) == 2
    assert scaled(fleet) == []


def asleep(fleet, hours) -> None:
    """An idle release with `min` 0, whose starts are known to be quick."""
    fleet.served(NEW, replicas=3, scale=msgspec.structs.replace(SCALE, min=0))
    hours.go(4000)
    fleet.until(lambda: not fleet.replicas(NEW))


def test_an_idle_release_may_sleep_and_the_first_request_that_waits_wakes_it(fleet, hours):
    asleep(fleet, hours)
    route = rows.route(fleet.database, "dev")
    assert (route.stable.release, route.stable.endpoints, route.wakes) == (NEW, (), SCALE.wake)
    hours.go(5, waiting=1)
    fleet.until(lambda: places(fleet) == 1)


def test_a_release_that_comes_while_the_other_one_sleeps_is_started_all_the_same(fleet, hours):
    asleep(fleet, hours)
    fleet.load = QUIET
    assert fleet.served(OLD, replicas=3, scale=msgspec.structs.replace(SCALE, min=0)).phase is Phase.DONE


def test_the_next_controller_knows_what_this_one_had_decided(fleet, hours):
    fleet.served(NEW, replicas=1, scale=SCALE)
    hours.go(60, running=64, waiting=100, each=10.0)
    fleet.until(lambda: places(fleet) == 3)
    fleet.new_controller()
    fleet.calm()
    assert places(fleet) == 3
    assert canaries.scaling(fleet.database, "dev", Scaling).state.wanted == 3


def test_without_scale_there_are_as_many_replicas_as_the_spec_says_whatever_the_load(fleet, hours):
    fleet.served(NEW, replicas=2)
    hours.go(120, running=500, waiting=500, each=10.0)
    assert places(fleet) == 2


def loaded(fleet, hours, how: str):
    """A canary at 10 % whose candidate has its one replica; then the load asks for three, and no other one starts."""
    asked = msgspec.structs.replace(ASKED, ready_within=30.0)
    rollout, _ = begun(fleet, replicas=1, scale=SCALE, then=Shape("m", 1, SCALE), asked=asked)
    fleet.how[NEW] = how
    hours.go(60, running=64, waiting=100, each=10.0)
    fleet.until(lambda: len(fleet.replicas(OLD)) == 3)
    return rollout


def test_a_replica_that_the_load_asks_for_and_that_is_never_ready_holds_a_canary_and_does_not_undo_it(fleet, hours):
    rollout = loaded(fleet, hours, "mute")
    fleet.until(lambda: len(fleet.replicas(NEW)) == 2)
    hung = next(one for one in fleet.replicas(NEW) if one.state == "starting")
    for _ in range(10):
        fleet.steadily += 10.0
        fleet.controller.once()
    assert fleet.rollout(rollout.id).phase is Phase.CANARY
    assert "the load asks for more replicas" in canary(fleet, rollout).decision.reason
    fleet.until(lambda: hung.id not in {one.id for one in fleet.replicas(NEW)})  # another one is tried
    assert rows.route(fleet.database, "dev").candidate.endpoints


def test_replicas_that_the_load_asks_for_and_that_die_at_start_do_not_undo_a_canary(fleet, hours):
    rollout = loaded(fleet, hours, "dies")
    for deaths in (1, 2, 3, 4, 5):
        fleet.until(lambda deaths=deaths: sum(one.count for one in died(fleet, NEW)) >= deaths)
        fleet.steadily += 10.0
    assert fleet.rollout(rollout.id).phase is Phase.CANARY


def test_the_replicas_that_a_canary_needs_still_undo_it_while_the_load_asks_for_more(fleet, hours):
    rollout = loaded(fleet, hours, "dies")
    fleet.how[OLD] = "well"
    served = next(one for one in fleet.replicas(NEW) if one.state == "ready")
    os.kill(served.process.pid, signal.SIGKILL)
    fleet.until(lambda: late(fleet, 5.0) and fleet.rollout(rollout.id).phase is Phase.FAILED)
    assert "a replica died" in fleet.rollout(rollout.id).reason


def died(fleet, release: str):
    return [death for what, death in fleet.controller.lately.deaths("dev").items() if release in what]


def late(fleet, seconds: float) -> bool:
    fleet.steadily += seconds
    return True
