"""A canary in a fleet: it rises, it is promoted, it is stopped, and people steer it."""

from __future__ import annotations

import os
import signal

import msgspec
import pytest
from canary_rig import ASKED, Users, begun, canary, candidate, copy_of, judged_again, told
from fleet_rig import NEW, OLD, alive

from guideway.core.errors import Refused, SpecError, Unavailable
from guideway.core.rollout import Phase
from guideway.core.spec.rollout import Required, Step
from guideway.fleet import steer
from guideway.rollout.canary import Canary
from guideway.store import canaries, feedback, ledger
from guideway.store import fleet as rows


def bad(arm: str) -> float:
    return 0.3 if arm == "candidate" else 0.0


def weight(fleet) -> float:
    return rows.route(fleet.database, "dev").weight


def counted(fleet, rollout) -> int:
    found = canaries.canary(fleet.database, rollout.id, Canary)
    return sum(sum(pair) for pair in found.scores.units.values()) if found else 0


def gone(fleet, rollout) -> bool:
    """Was it undone by now? A second later than at the last look."""
    fleet.steadily += 1.0
    return fleet.rollout(rollout.id).phase is Phase.FAILED


def steer_by(fleet) -> dict:
    return {"by": "alice", "clock": fleet.now}


def test_a_healthy_candidate_rises_step_by_step_and_gets_everything(fleet):
    rollout, users = begun(fleet)
    assert weight(fleet) == 0.1
    ended = users.until_over(rollout)
    assert ended.phase is Phase.DONE
    route = rows.route(fleet.database, "dev")
    assert (route.stable.release, route.candidate, route.weight, route.rollout) == (NEW, None, 0.0, "")
    assert [word for word in told(fleet) if word in ("raise", "promote")] == ["raise", "raise", "promote"]
    assert [one.state for one in fleet.replicas(OLD)] == ["ready", "ready"]  # warm


def test_every_decision_can_be_made_again_from_the_ledger(fleet):
    rollout, users = begun(fleet)
    users.until_over(rollout, wrong=bad)
    found = judged_again(fleet)
    assert len(found) >= 2
    assert all(found)


def test_a_controller_that_slept_while_another_one_counted_neither_loses_nor_doubles_anything(fleet):
    rollout, users = begun(fleet)
    users.ask(20)
    fleet.until(lambda: counted(fleet, rollout) == 20)
    sleeper = fleet.controller
    fleet.new_controller()
    users.ask(20)
    fleet.until(lambda: counted(fleet, rollout) == 40)
    users.ask(20)
    fleet.steadily += 1.0
    with pytest.raises(Unavailable, match="another controller has taken over"):
        sleeper.ears.hear("dev")  # it had looked at the fence before it slept
    fleet.steadily += 1.0
    sleeper.once()
    assert counted(fleet, rollout) == 60
    sleeper._settle()


def test_a_folder_of_outcomes_that_was_gone_for_a_while_is_not_counted_once_more(fleet):
    rollout, users = begun(fleet)
    users.ask(20)
    fleet.until(lambda: counted(fleet, rollout) == 20)
    folder = fleet.home.environment("dev") / "outcomes"
    hidden = folder.rename(folder.with_name("hidden"))
    fleet.steadily += 1.0
    fleet.controller.once()
    hidden.rename(folder)
    fleet.steadily += 1.0
    users.ask(20)
    fleet.until(lambda: counted(fleet, rollout) >= 40)
    assert counted(fleet, rollout) == 40


def test_a_bad_candidate_is_undone_and_the_stable_release_never_lost_its_replicas(fleet):
    rollout, users = begun(fleet)
    before = fleet.replicas(OLD)
    ended = users.until_over(rollout, wrong=bad)
    assert ended.phase is Phase.FAILED
    assert ended.reason.startswith("errors failed: ")
    assert candidate(fleet) is None
    assert fleet.replicas(OLD) == before
    assert all(alive(one) for one in before)
    fleet.until(lambda: not fleet.replicas(NEW))


def test_when_both_arms_fail_alike_nobody_is_undone(fleet):
    rollout, users = begun(fleet)
    assert users.until_over(rollout, wrong=lambda arm: 0.3).phase is Phase.DONE


@pytest.mark.catalogue("A6")
def test_a_quiet_service_waits_where_it_is(fleet):
    rollout, _ = begun(fleet)
    for _ in range(50):
        fleet.steadily += 600.0
        fleet.controller.once()
    assert fleet.rollout(rollout.id).phase is Phase.CANARY
    assert weight(fleet) == 0.1
    assert canary(fleet, rollout).decision.kind == "wait"


def test_before_the_first_step_limits_of_latency_are_drawn_from_the_stable_release(fleet):
    asked = msgspec.structs.replace(ASKED, require=(*ASKED.require, Required("latency_p50", 1.2)))
    fleet.served(OLD)
    users = Users(fleet)
    users.ask(50)
    rollout = fleet.ship(NEW, strategy="canary", asked=asked)
    fleet.until(lambda: fleet.rollout(rollout.id).phase is Phase.CANARY)
    fleet.steadily += 1.0
    fleet.calm()
    assert candidate(fleet) is None
    assert "limits of latency need 200" in canary(fleet, rollout).decision.reason
    users.ask(200)
    fleet.until(lambda: candidate(fleet))
    limits = canary(fleet, rollout).scores.limits.latency
    assert rows.route(fleet.database, "dev").limits == limits
    assert 80.0 < limits[0] < 120.0


@pytest.mark.parametrize(("callers", "unit"), [(999, "request"), (1000, "caller")])
def test_callers_are_drawn_where_there_were_enough_of_them_in_the_last_day(fleet, callers, unit):
    fleet.served(OLD)
    users = Users(fleet)
    for number in range(callers):
        users.ask(1, caller=f"{number:032x}")
    fleet.steadily += 1.0
    fleet.calm()
    fleet.ship(NEW, strategy="canary", asked=ASKED)
    fleet.until(lambda: candidate(fleet))
    assert rows.route(fleet.database, "dev").unit == unit


def test_the_candidate_has_the_replicas_that_its_next_weight_needs(fleet):
    _, users = begun(fleet, replicas=2)
    assert len(fleet.replicas(NEW)) == 1
    while weight(fleet) < 0.5:
        users.ask(20)
        fleet.controller.once()
    fleet.until(lambda: [one.state for one in fleet.replicas(NEW)] == ["ready", "ready"])
    assert len(fleet.replicas(OLD)) == 2


@pytest.mark.catalogue("A5")
def test_a_candidate_whose_replica_is_gone_waits_and_is_undone_after_its_deadline(fleet):
    rollout, users = begun(fleet, asked=msgspec.structs.replace(ASKED, ready_within=30.0))
    fleet.how[NEW] = "mute"
    os.kill(fleet.replicas(NEW)[0].process.pid, signal.SIGKILL)
    fleet.until(lambda: not candidate(fleet).endpoints)
    assert fleet.rollout(rollout.id).phase is Phase.CANARY
    users.ask(20)
    assert users.answered.get(NEW, 0) == 0
    fleet.controller.once()
    fleet.until(lambda: gone(fleet, rollout))
    assert "not ready" in fleet.rollout(rollout.id).reason
    assert candidate(fleet) is None


def test_a_candidate_that_dies_again_and_again_is_undone(fleet):
    rollout, _ = begun(fleet)
    for _ in range(3):
        replica = fleet.until(lambda: next((one for one in fleet.replicas(NEW) if alive(one)), None))
        os.kill(replica.process.pid, signal.SIGKILL)
        fleet.until(lambda gone=replica: gone.id not in {one.id for one in fleet.replicas(NEW)})
    fleet.until(lambda: fleet.rollout(rollout.id).phase is Phase.FAILED)
    assert "a replica died 3 times" in fleet.rollout(rollout.id).reason
    assert candidate(fleet) is None


@pytest.mark.catalogue("A6")
def test_outcomes_that_cannot_be_read_hold_everything_and_undo_it_after_the_deadline(fleet):
    rollout, users = begun(fleet)
    users.ask(20)
    fleet.until(lambda: canary(fleet, rollout).scores.units)
    spool = fleet.home.environment("dev") / "outcomes"
    spool.rename(spool.with_name("kept"))
    spool.write_text("no folder")
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).told == "wait")
    assert weight(fleet) == 0.1
    fleet.until(lambda: gone(fleet, rollout))
    assert "no outcome could be read" in fleet.rollout(rollout.id).reason


@pytest.mark.catalogue("A10")
def test_a_jump_of_the_clock_promotes_nothing_early(fleet):
    rollout, users = begun(fleet, asked=msgspec.structs.replace(ASKED, steps=(Step(0.5, 10, shortest=1000.0),)))
    users.ask(100)
    now = fleet.now
    fleet.now = lambda: now() + 86_400.0
    for _ in range(5):
        fleet.controller.once()
    assert fleet.rollout(rollout.id).phase is Phase.CANARY
    assert canary(fleet, rollout).held < 10.0


def test_a_machine_that_slept_has_held_nothing(fleet):
    rollout, users = begun(fleet, asked=msgspec.structs.replace(ASKED, steps=(Step(0.5, 10, shortest=1000.0),)))
    for _ in range(3):
        fleet.steadily += 5000.0
        users.ask(20)
        fleet.controller.once()
    assert canary(fleet, rollout).held < 60.0
    assert fleet.rollout(rollout.id).phase is Phase.CANARY


def test_a_new_controller_goes_on_with_the_same_evidence_and_counts_nothing_twice(fleet):
    rollout, users = begun(fleet)
    users.ask(60)
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).scores.units_at(0.1) == 60)
    fleet.new_controller()
    users.ask(30)
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).scores.units_at(0.1) == 90)
    assert fleet.rollout(rollout.id).phase is Phase.CANARY


def test_what_fails_to_be_written_is_counted_once_when_it_is_written(fleet, monkeypatch):
    rollout, users = begun(fleet)
    put = canaries.put_positions

    def full(*what):
        monkeypatch.setattr(canaries, "put_positions", put)
        raise OSError("the disk is full")

    monkeypatch.setattr(canaries, "put_positions", full)
    users.ask(50)
    fleet.steadily += 1.0
    fleet.controller.once()
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).scores.units_at(0.1))
    assert canary(fleet, rollout).scores.units_at(0.1) == 50


def test_segments_that_were_read_are_removed(fleet):
    _, users = begun(fleet)
    users.ask(50)
    users.spool.close()
    fleet.steadily += 1.0
    folder = fleet.home.environment("dev") / "outcomes"
    fleet.until(lambda: not list(folder.iterdir()))
    assert canaries.positions(fleet.database, "dev") == {}


def test_thumbs_down_for_the_candidate_speak_against_it_each_request_once(fleet):
    rollout, users = begun(fleet)
    users.ask(60)
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).scores.units_at(0.1) == 60)
    users.say("down", "q301", "q302", "q303")
    users.say("up", "q303", "q304", "nobody")
    fleet.steadily += 1.0
    fleet.until(lambda: "feedback" in canary(fleet, rollout).scores.signals)
    found = canary(fleet, rollout).scores.signals["feedback"]
    assert sum(found.requests) == 4
    assert sum(sum(one) for one in found.process.tally.values()) == 3
    assert len(feedback.all_of(fleet.database, "dev")) == 6


def test_a_key_is_heard_once_at_each_weight_however_often_it_speaks(fleet):
    rollout, users = begun(fleet)
    users.ask(60)
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).scores.units_at(0.1) == 60)
    users.say("down", *(f"q{number}" for number in range(301, 361)), key="loud")
    fleet.steadily += 1.0
    fleet.until(lambda: "feedback" in canary(fleet, rollout).scores.signals)
    assert sum(canary(fleet, rollout).scores.signals["feedback"].requests) == 1
    assert len(feedback.all_of(fleet.database, "dev")) == 60


# -- people ------------------------------------------------------------------------------------------------------------


def test_a_paused_canary_stays_and_goes_on_when_it_is_resumed(fleet):
    rollout, users = begun(fleet)
    steer.pause(fleet.database, "dev", **steer_by(fleet))
    for _ in range(30):
        users.ask(20)
        fleet.controller.once()
    assert weight(fleet) == 0.1
    assert "paused" in canary(fleet, rollout).decision.reason
    steer.pause(fleet.database, "dev", **steer_by(fleet), resume=True)
    assert users.until_over(rollout).phase is Phase.DONE


def test_a_paused_canary_is_undone_all_the_same(fleet):
    rollout, users = begun(fleet)
    steer.pause(fleet.database, "dev", **steer_by(fleet))
    assert users.until_over(rollout, wrong=bad).phase is Phase.FAILED


def test_a_person_promotes_early_once_all_replicas_answer(fleet):
    rollout, _ = begun(fleet)
    steer.promote(fleet.database, "dev", **steer_by(fleet))
    fleet.until(lambda: fleet.rollout(rollout.id).phase.final)
    assert fleet.rollout(rollout.id).phase is Phase.DONE
    assert fleet.ports() == sorted(one.port for one in fleet.replicas(NEW))
    assert len(fleet.ports()) == 2
    assert [one.who for one in ledger.entries(fleet.database, what="promote")] == ["alice"]


def test_a_person_aborts_and_needs_no_controller(fleet):
    begun(fleet)
    ended = steer.abort(fleet.home, fleet.database, "dev", **steer_by(fleet), why="the answers are odd")
    assert (ended.phase, ended.reason) == (Phase.FAILED, "alice aborted it: the answers are odd")
    assert candidate(fleet) is None
    file = (fleet.home.environment("dev") / "route.json").read_bytes()
    assert b'"candidate":null' in file
    fleet.calm()
    assert candidate(fleet) is None


@pytest.mark.catalogue("A8")
def test_where_no_rollout_runs_there_is_nothing_to_abort_promote_or_pause(fleet):
    fleet.served(OLD)
    with pytest.raises(SpecError, match="no rollout is under way"):
        steer.abort(fleet.home, fleet.database, "dev", **steer_by(fleet))
    with pytest.raises(SpecError, match="no rollout is under way"):
        steer.promote(fleet.database, "dev", **steer_by(fleet))
    with pytest.raises(SpecError, match="no rollout is under way"):
        steer.pause(fleet.database, "dev", **steer_by(fleet))


@pytest.mark.catalogue("A7")
def test_another_release_during_a_canary_replaces_it_and_is_compared_with_the_stable_one(fleet):
    first, users = begun(fleet)
    third = "sha256:" + "2" * 64
    second = fleet.ship(third, strategy="canary", asked=ASKED)
    fleet.until(lambda: (found := candidate(fleet)) and found.release == third)
    assert canary(fleet, second).scores.signals == {}
    assert fleet.rollout(first.id).phase is Phase.REPLACED
    assert rows.route(fleet.database, "dev").stable.release == OLD
    fleet.until(lambda: not fleet.replicas(NEW))
    assert users.until_over(second).phase is Phase.DONE


def test_a_retry_keeps_the_evidence_of_the_same_pair_unless_a_person_asks_for_a_fresh_start(fleet):
    rollout, users = begun(fleet)
    users.ask(60)
    fleet.steadily += 1.0
    fleet.until(lambda: canary(fleet, rollout).scores.units_at(0.1) == 60)
    steer.abort(fleet.home, fleet.database, "dev", **steer_by(fleet))
    again = fleet.ship(NEW, strategy="canary", asked=ASKED)
    fleet.until(lambda: candidate(fleet))
    assert (
        canary(fleet, again).scores.signals["errors"].requests
        == canary(fleet, rollout).scores.signals["errors"].requests
    )
    steer.abort(fleet.home, fleet.database, "dev", **steer_by(fleet))
    fresh = fleet.ship(NEW, strategy="canary", asked=ASKED, afresh=True)
    fleet.until(lambda: candidate(fleet))
    assert canary(fleet, fresh).scores.signals == {}


# -- in shadow, and afterwards -----------------------------------------------------------------------------------------


def test_a_shadow_answers_copies_and_waits_for_a_person(fleet):
    rollout, users = begun(fleet, strategy="shadow")
    route = rows.route(fleet.database, "dev")
    assert (route.shadow, route.weight) == (True, 1.0)
    for same in (True, True, False, None):
        users.spool.add(copy_of(rollout.id, same=same))
    users.spool.add(copy_of(rollout.id, status=500, failure="status", same=None))
    users.spool.tick()
    fleet.steadily += 1.0
    fleet.calm()
    compared = canary(fleet, rollout).compared
    assert (compared.copies, compared.known, compared.same, compared.failed) == (5, 3, 2, 1)
    fleet.calm()
    assert fleet.rollout(rollout.id).phase is Phase.SHADOW
    steer.promote(fleet.database, "dev", **steer_by(fleet))
    fleet.until(lambda: fleet.rollout(rollout.id).phase is Phase.DONE)
    assert rows.route(fleet.database, "dev").stable.release == NEW


def test_after_a_promotion_a_release_that_fails_is_told_of_and_left_to_people(fleet):
    rollout, users = begun(fleet)
    assert users.until_over(rollout).phase is Phase.DONE
    users.ask(200, wrong=lambda arm: 0.4)
    fleet.steadily += 1.0
    fleet.until(lambda: "alert" in told(fleet))
    users.ask(200, wrong=lambda arm: 0.4)
    fleet.steadily += 1.0
    fleet.calm()
    assert told(fleet).count("alert") == 1
    assert rows.route(fleet.database, "dev").stable.release == NEW


def test_evidence_that_would_stop_a_retry_at_once_refuses_it_where_a_person_reads_why(fleet):
    from guideway.fleet.begin import check_evidence as _check_evidence

    rollout, users = begun(fleet)
    users.until_over(rollout, wrong=bad)
    retry = msgspec.structs.replace(rollout, id="another")
    with pytest.raises(Refused, match="its evidence stands: errors: "):
        _check_evidence(fleet.database, retry)
    _check_evidence(fleet.database, msgspec.structs.replace(retry, afresh=True))
