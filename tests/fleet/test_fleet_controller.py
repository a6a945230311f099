"""The controller with real processes: it starts, switches, undoes, replaces, and stops."""

from __future__ import annotations

import os
import re
import signal
import socket
import time

import msgspec
import pytest
from fleet_rig import NEW, OLD, alive

from guideway.core.rollout import Phase
from guideway.core.route import Route
from guideway.core.spec import Gateway
from guideway.fleet.look import gateway_state, look
from guideway.fleet.project import projected_gateway
from guideway.fleet.view import Standing
from guideway.kit.process import free_port, is_alive
from guideway.store import fleet as rows
from guideway.store import ledger
from guideway.store import rows as written


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def projected(fleet) -> Route:
    return msgspec.json.decode((fleet.home.environment("dev") / "route.json").read_bytes(), type=Route)


def test_a_first_release_is_served_by_all_replicas_through_a_gateway(fleet):
    assert fleet.served().phase is Phase.DONE
    replicas = fleet.replicas()
    assert [one.state for one in replicas] == ["ready", "ready"]
    assert all(alive(one) for one in replicas)
    assert fleet.ports() == sorted(one.port for one in replicas)
    gateway = gateway_state(fleet.home, "dev")
    assert gateway and rows.environment(fleet.database, "dev").port == gateway.port


def test_workers_read_the_route_and_the_keys_from_files(fleet):
    fleet.served()
    assert projected(fleet) == rows.route(fleet.database, "dev")
    keys = fleet.home.environment("dev") / "keys.json"
    assert keys.stat().st_mode & 0o077 == 0


def test_the_second_release_takes_all_traffic_and_the_first_one_stays_warm(fleet):
    fleet.served(OLD)
    fleet.served(NEW)
    assert fleet.ports() == sorted(one.port for one in fleet.replicas(NEW))
    assert [one.state for one in fleet.replicas(OLD)] == ["ready", "ready"]
    fleet.calm()
    assert len(fleet.replicas(OLD)) == 2


def test_after_baking_the_first_release_stops(fleet):
    fleet.served(OLD)
    fleet.served(NEW, bake=3600.0)
    warm = fleet.replicas(OLD)
    fleet.calm()
    fleet.steadily += 3601.0
    fleet.until(lambda: not fleet.replicas(OLD))
    assert not any(alive(one) for one in warm)
    assert len(fleet.replicas(NEW)) == 2


@pytest.mark.catalogue("A10")
@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_somebody_sets_does_not_end_the_baking(fleet, jump):
    fleet.served(OLD)
    fleet.served(NEW, bake=3600.0)
    fleet.now = lambda: time.time() + jump
    fleet.calm()
    assert len(fleet.replicas(OLD)) == 2
    fleet.served(OLD, bake=3600.0)  # what takes over while the clock is wrong bakes as long
    fleet.calm()
    assert len(fleet.replicas(NEW)) == 2
    fleet.steadily += 3601.0
    fleet.until(lambda: not fleet.replicas(NEW))


def test_what_baked_under_another_controller_counts(fleet):
    fleet.served(OLD)
    fleet.served(NEW, bake=3600.0)
    fleet.now = lambda: time.time() + 3000.0
    fleet.new_controller()
    fleet.calm()
    assert len(fleet.replicas(OLD)) == 2
    fleet.steadily += 601.0
    fleet.until(lambda: not fleet.replicas(OLD))


@pytest.mark.catalogue("A10")
def test_a_clock_that_is_set_forward_does_not_undo_a_candidate_that_starts(fleet):
    fleet.served(OLD)
    fleet.how[NEW] = "mute"
    rollout = fleet.ship(NEW, ready_within=600.0)
    fleet.until(lambda: len(fleet.replicas(NEW)) == 2)
    fleet.now = lambda: time.time() + 86_400.0
    fleet.controller.once()
    assert fleet.rollout(rollout.id).phase is Phase.STARTING
    fleet.steadily += 601.0
    fleet.until(lambda: fleet.rollout(rollout.id).phase is Phase.FAILED)


def test_time_that_passed_without_a_controller_does_not_count_against_a_candidate(fleet):
    fleet.how[NEW] = "mute"
    rollout = fleet.ship(NEW, ready_within=600.0)
    fleet.until(lambda: len(fleet.replicas(NEW)) == 2)
    fleet.steadily += 500.0
    fleet.new_controller()
    fleet.controller.once()
    fleet.steadily += 500.0
    fleet.controller.once()
    assert fleet.rollout(rollout.id).phase is Phase.STARTING


def test_a_warm_replica_that_dies_is_not_replaced(fleet):
    fleet.served(OLD)
    fleet.served(NEW)
    kill(fleet.replicas(OLD)[0].process.pid)
    fleet.until(lambda: len(fleet.replicas(OLD)) == 1)
    fleet.calm()
    assert len(fleet.replicas(OLD)) == 1
    assert len(fleet.replicas(NEW)) == 2


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("dies", r"a replica died [34] times: no such model"),
        ("mute", r"0 of 2 replicas ready after 1 s \(2 starting, it generated no token\)"),
    ],
)
def test_a_candidate_that_never_becomes_ready_is_undone_and_says_why(fleet, how, why):
    fleet.served(OLD)
    before = rows.route(fleet.database, "dev")
    fleet.how[NEW] = how
    failed = fleet.served(NEW, ready_within=1.0 if how == "mute" else 20.0)
    assert failed.phase is Phase.FAILED
    assert re.fullmatch(why, failed.reason)  # two replicas start at once, so the last two deaths may be seen together
    fleet.until(lambda: not fleet.replicas(NEW))
    fleet.calm()
    assert rows.route(fleet.database, "dev") == before
    assert fleet.processes("replica") == {one.process.pid for one in fleet.replicas(OLD)}


def test_a_release_that_was_never_admitted_does_not_run(fleet):
    failed = fleet.served(NEW, admitted=False)
    assert (failed.phase, failed.reason) == (Phase.FAILED, "it was never admitted into 'dev'")
    assert fleet.processes("replica") == set()


def test_a_dead_replica_leaves_the_route_and_is_replaced(fleet):
    fleet.served()
    dead, other = fleet.replicas()
    kill(dead.process.pid)
    fleet.until(lambda: fleet.ports() == [other.port])
    fleet.until(lambda: len(fleet.ports()) == 2)
    assert dead.port not in fleet.ports()
    assert projected(fleet) == rows.route(fleet.database, "dev")


def test_bytes_are_read_again_only_when_no_replica_has_them_mapped(fleet):
    fleet.served()
    kill(fleet.replicas()[0].process.pid)
    fleet.until(lambda: len(fleet.ports()) == 1)
    fleet.until(lambda: len(fleet.ports()) == 2)
    assert fleet.host.unmaps == []
    for one in fleet.replicas():
        kill(one.process.pid)
    fleet.until(lambda: fleet.host.unmaps == [NEW])


def test_a_replica_that_keeps_dying_is_started_less_and_less_often(fleet):
    fleet.served()
    fleet.how[NEW] = "dies"
    kill(fleet.replicas()[0].process.pid)
    fleet.passing = lambda: 0.0
    fleet.steadily = time.monotonic()
    fleet.until(lambda: fleet.controller.lately.deaths("dev"))
    for deaths, wait in ((1, 0.25), (2, 0.5), (3, 1.0), (4, 2.0)):
        fleet.calm()
        assert fleet.controller.lately.deaths("dev")[NEW].count == deaths
        fleet.steadily += wait
        fleet.until(lambda deaths=deaths: fleet.controller.lately.deaths("dev")[NEW].count > deaths)
    assert len(fleet.ports()) == 1


def test_a_dead_replica_is_replaced_at_once_even_if_somebody_sets_the_clock_back(fleet):
    fleet.served()
    kill(fleet.replicas()[0].process.pid)
    fleet.until(lambda: fleet.controller.lately.deaths("dev"))
    fleet.now = lambda: time.time() - 3600.0
    fleet.until(lambda: len(fleet.ports()) == 2)


def test_a_dead_gateway_is_started_again_on_its_port(fleet):
    fleet.served()
    before = gateway_state(fleet.home, "dev")
    kill(before.pid)
    fleet.until(lambda: (now := gateway_state(fleet.home, "dev")) and now.pid != before.pid)
    assert gateway_state(fleet.home, "dev").port == before.port


def test_a_port_in_use_fails_the_rollout_with_the_words_of_the_gateway(fleet):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = fleet.served(gateway=Gateway(port=port))
    assert failed.phase is Phase.FAILED
    assert failed.reason == f"the gateway died 3 times: port {port}: Address already in use"


def test_a_changed_port_moves_the_gateway_which_goes_on(fleet):
    fleet.served()
    before = gateway_state(fleet.home, "dev")
    port = free_port()
    assert fleet.served(gateway=Gateway(port=port)).phase is Phase.DONE
    after = gateway_state(fleet.home, "dev")
    assert after.port == port != before.port
    assert after.pid == before.pid
    assert rows.environment(fleet.database, "dev").port == port
    assert projected_gateway(fleet.home, "dev").port == port


def test_a_gateway_that_can_take_up_nothing_while_it_runs_is_exchanged(fleet):
    fleet.served()
    before = gateway_state(fleet.home, "dev")
    told = fleet.home.environment("dev") / "gateway.json.state"
    told.write_bytes(msgspec.json.encode({"pid": before.pid, "started": before.started, "port": before.port}))
    assert fleet.served(gateway=Gateway(port=0, workers=2)).phase is Phase.DONE
    assert gateway_state(fleet.home, "dev").pid != before.pid
    assert not is_alive(before.pid, before.started)


def test_an_unchanged_gateway_is_left_alone(fleet):
    fleet.served(OLD)
    before = gateway_state(fleet.home, "dev")
    fleet.served(NEW)
    fleet.new_controller()
    fleet.calm()
    assert gateway_state(fleet.home, "dev") == before


def test_down_stops_everything_and_up_starts_it_on_the_same_port(fleet):
    fleet.served()
    port = rows.environment(fleet.database, "dev").port
    fleet.down()
    fleet.until(fleet.controller._all_down)
    assert fleet.processes() == set()
    assert fleet.ports() == []
    assert fleet.served().phase is Phase.DONE
    assert gateway_state(fleet.home, "dev").port == port


def test_down_ends_a_rollout_that_is_under_way(fleet):
    rollout = fleet.ship()
    fleet.until(fleet.processes)
    fleet.down()
    fleet.until(fleet.controller._all_down)
    assert fleet.rollout(rollout.id).reason == "the environment was taken down; `guideway up` brings it back"
    assert fleet.processes() == set()


def test_a_rollout_that_replaces_another_one_wins_and_leaves_nothing_of_it(fleet):
    first = fleet.ship(OLD)
    fleet.until(lambda: fleet.processes("replica"))
    assert fleet.served(NEW).phase is Phase.DONE
    assert fleet.rollout(first.id).phase is Phase.REPLACED
    fleet.until(lambda: not fleet.replicas(OLD))
    fleet.calm()
    assert fleet.processes("replica") == {one.process.pid for one in fleet.replicas(NEW)}


def test_fewer_replicas_leave_the_route_before_they_stop(fleet):
    fleet.served(replicas=3)
    fleet.ship(replicas=1)
    seen: list[tuple[int, int]] = []

    def alone() -> bool:
        seen.append((len(fleet.ports()), sum(alive(one) for one in fleet.replicas())))
        return len(fleet.replicas()) == 1

    fleet.until(alone)
    assert all(serving <= running for serving, running in seen)
    assert (1, 3) in seen
    assert fleet.ports() == [fleet.replicas()[0].port]


def test_environments_do_not_touch_each_other(fleet):
    fleet.served(NEW)
    fleet.served(OLD, environment="prod", replicas=1)
    fleet.down("prod")
    fleet.until(lambda: not fleet.replicas(OLD))
    fleet.calm()
    assert len(fleet.replicas(NEW)) == 2
    assert gateway_state(fleet.home, "dev")
    assert fleet.gateways.standing(rows.environment(fleet.database, "prod"), fleet.database) is Standing.NONE


def test_the_ledger_tells_how_a_rollout_went(fleet):
    fleet.served(OLD)
    fleet.how[NEW] = "dies"
    fleet.served(NEW)
    told = [(line.what, line.subject) for line in ledger.entries(fleet.database) if line.who == "controller"]
    assert told == [
        ("rollout starting", OLD),
        ("route", OLD),
        ("rollout done", OLD),
        ("rollout starting", NEW),
        ("rollout failed", NEW),
    ]
    assert ledger.verify(fleet.database) == 5


def test_a_fault_in_one_environment_is_said_once_and_does_not_stop_another(fleet, capsys, monkeypatch):
    fleet.served(NEW)
    project = fleet.controller._project

    def broken(environment: str) -> None:
        if environment == "dev":
            raise OSError("the disk is full")
        project(environment)

    monkeypatch.setattr(fleet.controller, "_project", broken)
    assert fleet.served(OLD, environment="prod", replicas=1).phase is Phase.DONE
    assert capsys.readouterr().err.count("\nOSError: the disk is full\n") == 1


@pytest.mark.catalogue("A4")
def test_a_way_back_to_a_release_that_stopped_moves_nothing_before_all_of_it_answers(fleet):
    fleet.served(OLD)
    fleet.served(NEW, bake=0.0)
    fleet.until(lambda: not fleet.replicas(OLD))
    back = fleet.ship(OLD, kind="rollback")
    while not fleet.rollout(back.id).phase.final:
        fleet.controller.once()
        route = rows.route(fleet.database, "dev")
        assert len(route.stable.endpoints) == 2
        ready = {one.port for one in fleet.replicas(route.stable.release) if one.state == "ready"}
        assert {one.port for one in route.stable.endpoints} <= ready
    assert fleet.rollout(back.id).phase is Phase.DONE
    assert rows.route(fleet.database, "dev").stable.release == OLD


def asked_often(fleet, condition) -> bool:
    """Did *condition* come about? A while later than at the last look."""
    fleet.steadily += 16.0
    return condition()


@pytest.mark.catalogue("A14")
def test_a_replica_that_says_all_is_well_and_answers_nonsense_is_replaced(fleet):
    fleet.how[NEW] = "lies"
    fleet.served()
    fleet.how[NEW] = "well"
    before = {one.id for one in fleet.replicas()}
    fleet.until(lambda: asked_often(fleet, lambda: before.isdisjoint(one.id for one in fleet.replicas())))
    fleet.until(lambda: len(fleet.ports()) == 2)


def test_a_replica_that_serves_well_is_asked_and_left_alone(fleet):
    fleet.served()
    before = fleet.replicas()
    for _ in range(20):
        fleet.steadily += 16.0
        fleet.calm()
    assert fleet.replicas() == before


@pytest.mark.catalogue("A13")
def test_a_replica_that_hangs_for_long_is_replaced(fleet, monkeypatch):
    monkeypatch.setattr("guideway.fleet.host.PROBE_TIMEOUT", 0.1)
    fleet.served()
    hung = fleet.replicas()[0]
    os.kill(hung.process.pid, signal.SIGSTOP)
    fleet.until(lambda: asked_often(fleet, lambda: hung.id not in {one.id for one in fleet.replicas()}))
    fleet.until(lambda: len(fleet.ports()) == 2 and hung.port not in fleet.ports())


def test_an_order_of_a_later_version_stops_the_rounds_with_one_line_until_it_is_given_anew(fleet, capsys):
    fleet.served()
    before = rows.route(fleet.database, "dev")
    plain = msgspec.json.decode(written.write(rows.environment(fleet.database, "dev")))
    plain["gateway"]["fence"] = True
    plain["written"] = {"by": "9.9.9", "set": ["gateway.fence"]}
    fleet.database.put(rows.tables.environments, name="dev", body=msgspec.json.encode(plain).decode())
    kill(fleet.replicas()[0].process.pid)
    for _ in range(5):
        assert not fleet.controller.once()
    said = "what should run in 'dev' was written by Guideway 9.9.9 with 'gateway.fence'"
    assert capsys.readouterr().err.count(said) == 1
    assert said in look(fleet.home, fleet.database, "dev").halted
    assert rows.route(fleet.database, "dev") == before
    assert fleet.served().phase is Phase.DONE
    assert not look(fleet.home, fleet.database, "dev").halted
