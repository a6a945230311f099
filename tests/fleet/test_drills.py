"""Drills on the real controller and the real gateway, over stand-in model servers; the load goes over real sockets."""

from __future__ import annotations

import pytest
from drill_rig import Ground, start_controller
from fleet_rig import NEW, OLD

from guideway.core.errors import SpecError, Unavailable
from guideway.core.rollout import EnvironmentState, Phase
from guideway.core.spec.gateway import Admission, Gateway
from guideway.fleet import orders
from guideway.fleet.drills import cache, controller, overload, replica, rollback
from guideway.fleet.look import gateway_state
from guideway.store import evidence, fleet, ledger

pytestmark = pytest.mark.thorough


@pytest.fixture
def ground(tmp_path, monkeypatch):
    monkeypatch.delenv("GUIDEWAY_HOME", raising=False)
    monkeypatch.delenv("GUIDEWAY_STATE", raising=False)
    for one in (rollback, replica, controller, cache):
        monkeypatch.setattr(one, "LEAD", 0.6)
        monkeypatch.setattr(one, "SETTLE", 0.6)
    monkeypatch.setattr(controller, "ALONE", 0.5)
    monkeypatch.setattr(replica, "TOLD_WITHIN", 10.0)  # no test asserts how quick a busy machine is
    one = Ground(tmp_path / "home")
    yield one
    one.end()


def figures(held) -> dict[str, float]:
    return {one.metric: one.value for one in held.drilled.criteria}


def stable(ground) -> str:
    route = fleet.route(ground.database, "dev")
    assert route and route.stable
    return route.stable.release


def told(ground, what: str) -> list[str]:
    return [line.why for line in ledger.entries(ground.database, what=what)]


def test_a_rollback_drill_measures_both_ways_and_leaves_the_environment_as_it_was(ground):
    ground.two_releases()
    held = ground.drill("rollback", rate=60)
    assert held.drilled.passed, held.drilled.failures
    found = figures(held)
    assert 0 < found["rollback_seconds"] <= 5 and 0 < found["rollforward_seconds"] <= 5
    assert found["rollback_failed_requests"] == found["rollback_broken_streams"] == 0
    assert held.drilled.criteria[2].n > 60  # the load was there all the time
    assert stable(ground) == NEW and orders.before(ground.database, "dev", NEW) == OLD
    assert not ground.keys_that_work()
    kept = evidence.about(ground.database, [held.facts[0].subject.digest])
    assert {one.evidence.metric for one in kept} == set(found) and {one.envelope for one in kept} == {held.envelope}
    assert told(ground, "drill rollback") == ["dev: PASS"]


def test_a_release_that_is_no_longer_warm_is_started_first_and_that_is_said(ground):
    ground.two_releases(bake=0.0)
    ground.until(lambda: not ground.replicas(OLD))
    held = ground.drill("rollback", rate=40)
    assert any("not warm" in note for note in held.drilled.notes)
    assert figures(held)["rollback_failed_requests"] == 0 and stable(ground) == NEW


def test_ctrl_c_in_the_middle_of_a_rollback_gives_the_traffic_back_and_revokes_the_key(ground, monkeypatch):
    ground.two_releases()
    moved = rollback.Moves.move

    def interrupted(moves, release, bake=0.0):
        moved(moves, release, bake)
        if release == OLD:
            raise KeyboardInterrupt

    monkeypatch.setattr(rollback.Moves, "move", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ground.drill("rollback")
    assert stable(ground) == NEW and not ground.keys_that_work()
    assert told(ground, "drill broken off") == ["rollback: KeyboardInterrupt"] and not told(ground, "drill rollback")


def test_ctrl_c_while_a_cold_release_starts_takes_the_order_back(ground, monkeypatch):
    ground.two_releases(bake=0.0)
    ground.until(lambda: not ground.replicas(OLD))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(orders, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ground.drill("rollback")
    assert not fleet.rollouts(ground.database, "dev", running=True)
    newest = fleet.rollouts(ground.database, "dev")[0]
    assert stable(ground) == NEW and (newest.kind, newest.phase) == ("rollback", Phase.FAILED)
    assert "the drill that asked for it ended" in newest.reason


def test_what_somebody_else_ships_during_a_drill_stays(ground, monkeypatch):
    ground.two_releases()
    moved, other = rollback.Moves.move, "sha256:" + "2" * 64

    def overtaken(moves, release, bake=0.0):
        moved(moves, release, bake)
        ground.served(other)
        raise KeyboardInterrupt

    monkeypatch.setattr(rollback.Moves, "move", overtaken)
    with pytest.raises(KeyboardInterrupt):
        ground.drill("rollback")
    assert stable(ground) == other and fleet.rollouts(ground.database, "dev")[0].phase is Phase.DONE
    assert any("somebody else" in one.text for one in ground.said)


def test_a_drill_puts_nothing_over_what_somebody_ships_meanwhile_and_says_that_it_was_not_done(ground, monkeypatch):
    ground.two_releases()
    moved, other, foreign = rollback.Moves.move, "sha256:" + "2" * 64, []

    def overtaken(moves, release, bake=0.0):
        if release == NEW:  # the moment before the way forward
            foreign.append(ground.ship(other, strategy="canary"))
        moved(moves, release, bake)

    monkeypatch.setattr(rollback.Moves, "move", overtaken)
    with pytest.raises(Unavailable, match=r"not done: somebody began a ship to 2222.*UNKNOWN"):
        ground.drill("rollback")
    assert [one.id for one in fleet.rollouts(ground.database, "dev", running=True)] == [foreign[0].id]
    assert stable(ground) == OLD and not ground.keys_that_work()
    assert not told(ground, "drill rollback") and "not done" in told(ground, "drill broken off")[0]
    assert any("all stays as it is" in one.text for one in ground.said)


@pytest.mark.catalogue("A12")
def test_a_replica_drill_kills_one_and_sees_it_replaced(ground):
    ground.served(NEW, replicas=3)
    before = {one.id for one in ground.replicas()}
    held = ground.drill("replica", rate=60)
    assert held.drilled.passed, (held.drilled.failures, held.drilled.notes)
    after = {one.id for one in ground.replicas() if one.state == "ready"}
    assert len(after) == 3 and len(before & after) == 2
    assert [(one.metric, one.value, one.slice) for one in held.facts][-1] == ("fault_drills_failed", 0.0, "replica")


def test_with_one_replica_the_drill_fails_and_its_evidence_says_so(ground):
    ground.served(NEW, replicas=1)
    held = ground.drill("replica", rate=60)
    assert not held.drilled.passed and figures(held)["replica_drill_failed_requests"] > 0
    assert held.facts[-1].value == 1.0 and told(ground, "drill replica")[0].startswith("dev: FAIL: failed requests")


@pytest.mark.catalogue("A1")
def test_a_controller_drill_kills_it_and_the_next_one_adopts_everything(ground):
    ground.served(NEW)
    before = {(one.id, one.process) for one in ground.replicas()}
    held = ground.drill("controller", rate=60)
    assert held.drilled.passed, held.drilled.failures
    assert {(one.id, one.process) for one in ground.replicas()} == before
    assert len(ground.processes("controller")) == 1


@pytest.mark.catalogue("A26")
def test_an_overload_drill_finds_the_capacity_offers_more_and_sees_the_recovery(ground, monkeypatch):
    monkeypatch.setattr(overload, "STEP", 0.5)
    monkeypatch.setattr(overload, "LONG", 1.0)
    monkeypatch.setattr(overload, "OFFERED", 3.0)
    monkeypatch.setattr(overload, "GOODPUT", 0.1)  # a share of two busy processors: the figure is no part of the test
    monkeypatch.setenv("SECONDS_AN_ANSWER", "0.1")
    options = Gateway(port=0, admission=Admission(concurrent=8, queue=8, wait=1.0))
    ground.served(NEW, replicas=1, gateway=options)
    held = ground.drill("overload", rate=10, peak=10)
    assert held.drilled.passed, (held.drilled.failures, held.drilled.notes)
    found = figures(held)
    assert 10 < found["capacity_per_second"] < 60  # four places, a tenth of a second each
    assert found["peak_headroom"] == pytest.approx(found["capacity_per_second"] / 10)
    assert "refused" in held.drilled.notes[0] and ", 0 refused" not in held.drilled.notes[0]


def test_the_crowd_of_an_overload_is_twice_what_the_gateway_lets_run_and_wait():
    options = Gateway(workers=2, admission=Admission(concurrent=10, queue=5))
    assert overload.crowd(EnvironmentState("dev", "m", "local", 3, options)) == 80


@pytest.mark.catalogue("A23")
def test_a_cache_drill_lets_every_worker_forget(ground):
    ground.served(NEW, gateway=Gateway(port=0, workers=2))
    before = gateway_state(ground.home, "dev")
    held = ground.drill("cache", rate=60)
    assert held.drilled.passed, (held.drilled.failures, held.drilled.notes)
    after = gateway_state(ground.home, "dev")
    assert before and after and before.pid == after.pid and not set(before.workers) & set(after.workers)


def test_a_release_without_a_predecessor_has_no_way_back_to_drill(ground):
    ground.served(NEW)
    with pytest.raises(SpecError, match="no release served before"):
        ground.drill("rollback")
    assert not ground.keys_that_work() and told(ground, "drill begun") == ["rollback"]
    start_controller(ground.home)  # nothing was changed: the same one runs on
    assert len(ground.processes("controller")) == 1
