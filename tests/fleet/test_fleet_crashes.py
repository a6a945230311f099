"""A controller may be killed at any moment: the next one finishes, and nothing is lost, doubled or left over."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest
from fleet_rig import NEW, OLD, Fleet, alive, run_controller

from guideway.core.errors import Unavailable
from guideway.core.rollout import Phase
from guideway.core.route import Arm, Route
from guideway.fleet.controller import SWEEP
from guideway.fleet.decide import Move, SetRoute
from guideway.fleet.look import gateway_state
from guideway.fleet.project import project_route
from guideway.kit.files import write_atomic
from guideway.store import fleet as rows
from guideway.store import ledger

pytestmark = pytest.mark.thorough

POINTS = 16
"""How many of them lie on the way of a rollout."""


def everything_is_right(fleet: Fleet, rollout: str) -> None:
    assert fleet.rollout(rollout).phase is Phase.DONE
    replicas = fleet.replicas(NEW)
    assert [one.state for one in replicas] == ["ready", "ready"]
    assert all(alive(one) for one in replicas)
    assert fleet.processes("replica") == {one.process.pid for one in fleet.replicas()}
    assert fleet.ports() == sorted(one.port for one in replicas)
    route = (fleet.home.environment("dev") / "route.json").read_bytes()
    assert msgspec.json.decode(route, type=Route) == rows.route(fleet.database, "dev")
    gateway = gateway_state(fleet.home, "dev")
    assert gateway and fleet.processes("gateway") == {gateway.pid}
    assert ledger.verify(fleet.database) > 0


@pytest.mark.catalogue("A1")
@pytest.mark.parametrize("at", range(1, POINTS + 1))
def test_killed_at_any_point_of_a_rollout_the_next_controller_finishes_it(fleet, at):
    rollout = fleet.ship(NEW)
    killed = run_controller(fleet, at)
    assert killed.returncode in (0, -signal.SIGKILL), killed.stderr
    fleet.new_controller()
    fleet.until(lambda: fleet.rollout(rollout.id).phase.final)
    fleet.calm()
    everything_is_right(fleet, rollout.id)


def test_the_points_reach_to_the_end_of_a_rollout(fleet):
    fleet.ship(NEW)
    done = run_controller(fleet, at=0)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == POINTS


@pytest.mark.catalogue("A1")
def test_a_new_controller_adopts_what_runs_and_starts_nothing(fleet):
    fleet.served(NEW)
    before = fleet.replicas(), gateway_state(fleet.home, "dev"), fleet.processes()
    fleet.new_controller()
    fleet.calm()
    assert (fleet.replicas(), gateway_state(fleet.home, "dev"), fleet.processes()) == before


def test_what_died_while_no_controller_looked_is_replaced(fleet):
    fleet.served(NEW)
    dead = fleet.replicas()[0]
    os.kill(dead.process.pid, signal.SIGKILL)
    os.kill(gateway_state(fleet.home, "dev").pid, signal.SIGKILL)
    fleet.new_controller()
    fleet.until(lambda: len(fleet.ports()) == 2 and dead.port not in fleet.ports())
    fleet.until(lambda: gateway_state(fleet.home, "dev"))


def test_a_pid_that_somebody_else_has_by_now_is_neither_adopted_nor_killed(fleet):
    fleet.served(NEW)
    taken = fleet.replicas()[0]
    stranger = msgspec.structs.replace(taken, process=msgspec.structs.replace(taken.process, pid=os.getpid()))
    rows.put_replica(fleet.database, stranger)
    os.kill(taken.process.pid, signal.SIGKILL)
    fleet.new_controller()
    fleet.until(lambda: len(fleet.ports()) == 2 and taken.port not in fleet.ports())
    assert taken.id not in {one.id for one in fleet.replicas()}


def test_a_route_that_was_set_but_not_projected_is_projected_by_the_next_controller(fleet):
    fleet.served(NEW)
    file = fleet.home.environment("dev") / "route.json"
    right = file.read_bytes()
    write_atomic(file, msgspec.json.encode(Route("dev", "m", revision=0, epoch=0)))
    fleet.new_controller()
    fleet.until(lambda: file.read_bytes() == right)


def test_whoever_was_overtaken_after_reading_the_route_writes_no_older_one(fleet, monkeypatch):
    fleet.served(NEW)
    file = fleet.home.environment("dev") / "route.json"
    file.unlink()
    newer = msgspec.structs.replace(rows.route(fleet.database, "dev"), revision=99)
    read = rows.route

    def overtaken(database, environment):
        found = read(database, environment)
        if found.revision != 99:
            rows.put_route(fleet.database, newer)
            write_atomic(file, msgspec.json.encode(newer))
        return found

    monkeypatch.setattr(rows, "route", overtaken)
    project_route(fleet.home, fleet.database, "dev")
    assert msgspec.json.decode(file.read_bytes(), type=Route) == newer


def test_a_controller_that_slept_while_another_one_acted_starts_stops_and_moves_nothing(fleet):
    fleet.served(OLD)
    sleeper, rollout = fleet.controller, fleet.ship(NEW)
    state, replica = rows.environment(fleet.database, "dev"), fleet.replicas()[0]
    fleet.new_controller()
    acts = [
        lambda: sleeper._move(state, Move(rollout.id, Phase.FAILED)),
        lambda: sleeper._set_route(state, SetRoute(NEW, ())),
        lambda: sleeper._stop(state, replica.id),
        lambda: sleeper._start_gateway(state),
    ]
    before = fleet.replicas(), fleet.rollout(rollout.id), rows.route(fleet.database, "dev"), fleet.processes()
    for act in acts:
        with pytest.raises(Unavailable, match="another controller has taken over"):
            act()
    after = fleet.replicas(), fleet.rollout(rollout.id), rows.route(fleet.database, "dev"), fleet.processes()
    assert after == before
    sleeper._settle()


def test_a_replica_that_nobody_knows_is_ended_after_a_while_by_the_controller_that_acts(fleet):
    fleet.served(NEW)
    known = fleet.processes("replica")
    fleet.host.start(rows.environment(fleet.database, "dev"), NEW, "bad1d")
    fleet.calm()
    assert len(fleet.processes("replica")) == len(known) + 1
    fleet.steadily += SWEEP
    fleet.until(lambda: fleet.processes("replica") == known)


def test_a_gateway_that_another_controller_started_is_adopted_and_no_second_one_is_started(fleet):
    fleet.served(NEW)
    before, sleeper = gateway_state(fleet.home, "dev"), fleet.controller
    fleet.new_controller()
    os.kill(before.pid, signal.SIGKILL)
    fleet.until(lambda: fleet.processes("gateway") and not gateway_state(fleet.home, "dev"))
    sleeper.once()
    fleet.until(lambda: gateway_state(fleet.home, "dev"))
    assert fleet.processes("gateway") == {gateway_state(fleet.home, "dev").pid}
    sleeper._settle()


def test_an_old_controller_cannot_set_a_route_against_a_rollback(fleet):
    fleet.served(NEW)
    route = rows.route(fleet.database, "dev")
    with fleet.database.transaction():
        epoch = rows.take_epoch(fleet.database)
        back = msgspec.structs.replace(route, epoch=epoch, revision=route.revision + 1, stable=Arm(OLD, ()))
        rows.put_route(fleet.database, back)
    with pytest.raises(Unavailable, match="another controller has taken over"):
        rows.put_route(fleet.database, msgspec.structs.replace(route, revision=route.revision + 2))
    fleet.controller.once()
    assert rows.route(fleet.database, "dev").stable.release == OLD
    assert fleet.controller.epoch == epoch + 1


def test_a_rollout_that_was_replaced_between_look_and_act_changes_nothing(fleet, monkeypatch):
    fleet.served(OLD)
    before = rows.route(fleet.database, "dev")
    first = fleet.ship(NEW)
    set_route = fleet.controller._set_route

    def overtaken(state, action) -> None:
        if action.rollout == first.id:
            fleet.ship(OLD)
        set_route(state, action)

    monkeypatch.setattr(fleet.controller, "_set_route", overtaken)
    fleet.until(lambda: fleet.rollout(first.id).phase is Phase.REPLACED)
    assert rows.route(fleet.database, "dev") == before
    fleet.until(lambda: all(one.phase.final for one in rows.rollouts(fleet.database)))
    assert rows.rollouts(fleet.database)[0].phase is Phase.DONE
    assert rows.route(fleet.database, "dev").stable.release == OLD
