"""What the workers left is counted once, in the order in which it was written, and in pieces."""

from __future__ import annotations

import msgspec
from canary_rig import begun, canary, copy_of
from fleet_rig import NEW

from guideway.core.artifact import short
from guideway.core.outcome import Outcome
from guideway.fleet import hear
from guideway.gateway.outcomes import Spool
from guideway.store import canaries
from guideway.store import fleet as rows


def unit(rollout: str, request: str, **changes) -> Outcome:
    plain = Outcome(
        at=1.0, environment="dev", rollout=rollout, arm="candidate", share=0.1, request=request, status=200,
        first_status=200, latency=10.0, release=short(NEW),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def segment(fleet, worker: str, *told: Outcome, number: int = 0) -> None:
    """A segment that its worker has left."""
    spool = Spool(fleet.home.environment("dev") / "outcomes", f"{worker}-{number}", clock=lambda: 0.0)
    for one in told:
        spool.add(one)
    spool.close()


def heard(fleet, rollout, count: int) -> int:
    fleet.steadily += hear.PAUSE
    fleet.controller.once()
    return canary(fleet, rollout).scores.units_at(0.1) >= count


def test_a_request_told_of_early_in_one_segment_and_late_in_the_next_counts_once(fleet):
    rollout, _ = begun(fleet)
    folder = fleet.home.environment("dev") / "outcomes"
    spool = Spool(folder, "worker-9", clock=lambda: 0.0)
    early = [unit(rollout.id, f"a{n}", overdue="running", status=0, first_status=0, latency=None) for n in range(50)]
    for one in early:
        spool.add(one)
    spool.close()
    spool = Spool(folder, "worker-9", clock=lambda: 0.0)
    spool._segment._number = 1
    for one in early:
        spool.add(unit(rollout.id, one.request, overdue="over"))
    spool.close()
    fleet.until(lambda: heard(fleet, rollout, 50))
    for _ in range(5):
        heard(fleet, rollout, 50)
    assert canary(fleet, rollout).scores.units_at(0.1) == 50


def test_what_an_outage_left_is_taken_in_pieces(fleet, monkeypatch):
    rollout, _ = begun(fleet)
    monkeypatch.setattr(hear, "AT_ONCE", 10)
    for number in range(5):
        segment(fleet, "worker-7", *(unit(rollout.id, f"{number}-{n}") for n in range(10)), number=number)
    heard(fleet, rollout, 1)
    assert canary(fleet, rollout).scores.units_at(0.1) == 10
    fleet.until(lambda: heard(fleet, rollout, 50))
    assert canary(fleet, rollout).scores.units_at(0.1) == 50


def test_units_that_are_heard_late_are_as_old_as_they_are(fleet):
    rollout, _ = begun(fleet)
    old = fleet.now() - 7200.0
    segment(fleet, "worker-8", *(unit(rollout.id, f"o{n}", at=old) for n in range(300)))
    fleet.until(lambda: heard(fleet, rollout, 300))
    for _ in range(5):
        heard(fleet, rollout, 300)
    assert rows.route(fleet.database, "dev").weight == 0.1
    assert "quiet: no unit for 72" in canary(fleet, rollout).decision.reason


def test_what_lay_there_when_a_controller_began_raises_nothing_before_another_unit_is_heard(fleet):
    rollout, users = begun(fleet)
    segment(fleet, "worker-8", *(unit(rollout.id, f"o{n}", at=fleet.now() + 5.0) for n in range(300)))
    fleet.new_controller()
    for _ in range(5):
        heard(fleet, rollout, 300)
    assert rows.route(fleet.database, "dev").weight == 0.1
    assert "quiet" in canary(fleet, rollout).decision.reason
    users.ask(20)
    fleet.until(lambda: heard(fleet, rollout, 320) and rows.route(fleet.database, "dev").weight > 0.1)


def test_a_segment_of_records_that_nobody_understands_is_said_aloud(fleet, capsys):
    rollout, _ = begun(fleet)
    segment(fleet, "worker-6", unit(rollout.id, "strange", failure="of another version"))
    heard(fleet, rollout, 1)
    heard(fleet, rollout, 1)
    assert "1 records not understood" in capsys.readouterr().err


def test_a_shadow_knows_who_is_slow(fleet):
    rollout, users = begun(fleet, strategy="shadow")
    users.ask(10)
    for number in range(20):
        users.spool.add(copy_of(rollout.id, request=f"s{number}", latency=60_000.0))
    users.spool.tick()
    fleet.steadily += hear.PAUSE
    fleet.calm()
    assert canary(fleet, rollout).compared.late == 20
    assert canaries.canary(fleet.database, rollout.id, type(canary(fleet, rollout))) is not None


def test_a_disk_that_stalled_once_leaves_a_canary_unheard_for_seconds_and_not_for_minutes(fleet, monkeypatch):
    rollout, _ = begun(fleet)
    put = canaries.put_positions

    def stalled(*what):
        fleet.steadily += 30.0
        put(*what)

    monkeypatch.setattr(hear.canaries, "put_positions", stalled)
    segment(fleet, "worker-1", unit(rollout.id, "first"))
    fleet.until(lambda: heard(fleet, rollout, 1))
    monkeypatch.setattr(hear.canaries, "put_positions", put)
    segment(fleet, "worker-2", unit(rollout.id, "second"))
    assert heard(fleet, rollout, 2)
