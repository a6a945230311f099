"""What people ask for: ways back that mean one step, and candidates that change nothing before they take over."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import msgspec
import pytest
from canary_rig import ASKED, begun, candidate
from fleet_rig import NEW, OLD

from guideway.core.errors import Refused, SpecError
from guideway.core.rollout import Phase, Shape
from guideway.core.spec.rollout import Rollout as Asked
from guideway.fleet import orders, steer
from guideway.fleet.begin import begin as _begin
from guideway.fleet.orders import JUST_NOW
from guideway.store import fleet as rows

SPEC = SimpleNamespace(rollout=Asked(bake=300.0))
THIRD = "sha256:" + "2" * 64


def back(fleet, **more):
    return orders.rollback(fleet.home, fleet.database, SPEC, "dev", clock=fleet.now, **more)


def later(fleet, seconds: float = JUST_NOW + 1.0) -> None:
    now = fleet.now
    fleet.now = lambda: now() + seconds


def stable(fleet) -> str:
    return rows.route(fleet.database, "dev").stable.release


def test_a_way_back_leads_to_what_was_before_and_never_to_what_was_just_left(fleet):
    for release in (THIRD, OLD, NEW):
        fleet.served(release)
    assert back(fleet).release == OLD
    later(fleet)
    assert back(fleet).release == THIRD
    fleet.until(lambda: stable(fleet) == THIRD)
    later(fleet)
    with pytest.raises(SpecError, match="no release served before"):
        back(fleet)


def test_a_way_back_with_known_rollouts_puts_nothing_over_one_that_began_meanwhile(fleet):
    for release in (OLD, NEW):
        fleet.served(release)
    known = {one.id for one in rows.rollouts(fleet.database)}
    fleet.ship(THIRD, strategy="canary")
    with pytest.raises(Refused, match="somebody began a ship to 2222"):
        back(fleet, to=OLD, known=known)
    assert stable(fleet) == NEW
    assert [one.release for one in rows.rollouts(fleet.database, running=True)] == [THIRD]


def test_two_people_who_go_back_at_once_go_one_step(fleet):
    for release in (THIRD, OLD, NEW):
        fleet.served(release)
    back(fleet, by="ann", why="it is slow")
    with pytest.raises(SpecError, match="somebody went back to 000000000000 0 s ago"):
        back(fleet, by="ben")
    assert stable(fleet) == OLD


def test_a_release_of_which_too_little_is_warm_is_started_whole_before_anything_moves(fleet):
    fleet.served(OLD)
    fleet.served(NEW)
    os.kill(fleet.replicas(OLD)[0].process.pid, signal.SIGKILL)
    asked = fleet.until(lambda: len(fleet.replicas(OLD)) == 1 and back(fleet))
    assert (asked.phase, stable(fleet)) == (Phase.PENDING, NEW)
    fleet.until(lambda: fleet.rollout(asked.id).phase is Phase.DONE)
    assert len(fleet.ports()) == 2


def test_a_candidate_with_fewer_replicas_and_another_name_changes_nothing_before_it_takes_over(fleet):
    rollout, users = begun(fleet, then=Shape("another", 1))
    fleet.calm()
    assert len(fleet.replicas(OLD)) == 2
    assert rows.route(fleet.database, "dev").model == "m"
    users.until_over(rollout)
    state = rows.environment(fleet.database, "dev")
    assert (state.model, state.replicas) == ("another", 1)
    fleet.until(lambda: rows.route(fleet.database, "dev").model == "another")
    fleet.until(lambda: len(fleet.replicas(NEW)) == 1)


def test_a_candidate_that_is_undone_leaves_the_environment_as_it_was(fleet):
    rollout, _ = begun(fleet, then=Shape("another", 1))
    steer.abort(fleet.home, fleet.database, "dev", by="ann", clock=fleet.now)
    fleet.calm()
    state = rows.environment(fleet.database, "dev")
    assert (state.model, state.replicas, len(fleet.replicas(OLD))) == ("m", 2, 2)
    assert rows.route(fleet.database, "dev").model == "m"
    assert candidate(fleet) is None
    assert fleet.rollout(rollout.id).phase is Phase.FAILED


def just_moved(fleet):
    """NEW has all traffic, and nobody has written down yet that its rollout is done."""
    fleet.served(OLD)
    moved = fleet.ship(NEW)
    fleet.until(lambda: stable(fleet) == NEW)
    first = fleet.rollout(moved.id)
    if first.phase is Phase.DONE:  # as it was a moment ago
        with fleet.database.transaction():
            fleet.database.execute(rows._ROLLOUTS.delete().where(rows._ROLLOUTS.c.id == first.id))
            rows.put_rollout(fleet.database, msgspec.structs.replace(first, phase=Phase.SWITCHING))
    return first


def test_a_ship_that_comes_between_the_move_of_traffic_and_its_end_leaves_the_way_back(fleet):
    first = just_moved(fleet)
    third = msgspec.structs.replace(first, id="third", release=THIRD, previous=NEW, phase=Phase.PENDING, asked=ASKED)
    with fleet.database.transaction():
        _begin(fleet.database, third)
    assert fleet.rollout(first.id).phase is Phase.DONE
    assert orders.before(fleet.database, "dev", NEW) == OLD


def test_new_settings_for_a_release_that_has_just_taken_over_leave_the_way_back_warm(fleet):
    first = just_moved(fleet)
    again = msgspec.structs.replace(first, id="again", previous=NEW, phase=Phase.PENDING)
    with fleet.database.transaction():
        _begin(fleet.database, again)
    assert fleet.rollout("again").previous == OLD


def test_a_way_back_in_the_moment_after_the_move_of_traffic_is_found(fleet):
    just_moved(fleet)
    assert back(fleet).release == OLD
    assert stable(fleet) == OLD
