"""What a drill found becomes evidence that the clauses REL-03, OPS-05 and OPS-06 take."""

from __future__ import annotations

import math

import msgspec
import pytest

from guideway.core.artifact import digest_of
from guideway.core.dossier import Dossier, Proof, environment_subject
from guideway.core.evidence import Evidence, Subject
from guideway.core.gate import Verdict
from guideway.fleet.drills.result import Criterion, Drilled, days_of, facts_of, limit_of
from guideway.standard import judge_all
from guideway.standard.clauses import default_clauses
from guideway.standard.judge import DAY

AT = 1_800_000_000.0
CLAUSES = default_clauses()
HERE = Subject("environment", environment_subject("days", "prod"), "environment")
WAY_BACK = (
    Criterion(what="back", metric="rollback_seconds", value=0.2, unit="s", at_most=5, n=1),
    Criterion(what="failed", metric="rollback_failed_requests", value=0, unit="requests", at_most=0, n=200),
)
KILLED = (Criterion(what="failed", metric="replica_drill_failed_requests", value=0, unit="requests", at_most=0, n=99),)


def drilled(name: str, criteria: tuple[Criterion, ...], fault: bool = True) -> Drilled:
    return Drilled(
        drill=name, environment="prod", at=AT, seconds=9.0, criteria=criteria, inputs=("sha256:1",), fault=fault
    )


def verdict(clause: str, *facts: Evidence, at: float = AT) -> Verdict:
    proofs = tuple(Proof(one, digest_of(one), "sha256:e", "guideway") for one in facts)
    subjects = {"environment": HERE.digest}
    dossier = Dossier(name="days", environment="prod", spec={}, subjects=subjects, ships="train", proofs=proofs)
    found = judge_all(CLAUSES, dossier, level="prod", when=("seal", "admit", "serve"), at=at)
    return next(one.verdict for one in found if one.clause == clause)


def test_a_rollback_drill_proves_rel_03_for_thirty_days():
    facts = facts_of(drilled("rollback", WAY_BACK, fault=False), HERE, CLAUSES)
    assert [one.metric for one in facts] == ["rollback_seconds", "rollback_failed_requests"]
    assert all(one.valid_until == AT + 30 * DAY and one.automatic and one.inputs == ("sha256:1",) for one in facts)
    assert verdict("REL-03", *facts, at=AT + 29 * DAY) is Verdict.PASS
    assert verdict("REL-03", *facts, at=AT + 31 * DAY) is Verdict.UNKNOWN


def test_a_later_drill_that_lost_a_request_takes_the_proof_back():
    good = facts_of(drilled("rollback", WAY_BACK, fault=False), HERE, CLAUSES)
    lost = (WAY_BACK[0], msgspec.structs.replace(WAY_BACK[1], value=1))
    bad = facts_of(msgspec.structs.replace(drilled("rollback", lost, fault=False), at=AT + 60), HERE, CLAUSES)
    assert verdict("REL-03", *good, *bad, at=AT + 60) is Verdict.FAIL


def test_fault_drills_prove_ops_06_with_a_runbook_and_each_fault_counts_for_itself():
    runbook = Evidence("runbook", 1.0, "", HERE, automatic=False, at=AT)
    replica = facts_of(drilled("replica", KILLED), HERE, CLAUSES)
    assert replica[-1].slice == "replica" and replica[-1].n == 1 and replica[-1].valid_until == AT + 90 * DAY
    assert verdict("OPS-06", *replica) is Verdict.UNKNOWN  # nobody said that there is a runbook
    assert verdict("OPS-06", *replica, runbook) is Verdict.PASS
    failed = (msgspec.structs.replace(KILLED[0], value=3),)
    controller = facts_of(drilled("controller", failed), HERE, CLAUSES)
    assert verdict("OPS-06", *replica, *controller, runbook) is Verdict.FAIL


@pytest.mark.parametrize(("headroom", "expected"), [(1.5, Verdict.PASS), (1.4, Verdict.FAIL)])
def test_an_overload_drill_with_an_expected_peak_proves_ops_05(headroom, expected):
    criterion = Criterion(what="peak", metric="peak_headroom", value=headroom, unit="times", at_least=1.5, n=1)
    assert verdict("OPS-05", *facts_of(drilled("overload", (criterion,)), HERE, CLAUSES)) is expected
    assert verdict("OPS-05", *facts_of(drilled("overload", KILLED), HERE, CLAUSES)) is Verdict.UNKNOWN


def test_what_never_happened_is_a_number_that_json_can_hold_and_fails():
    never = drilled("rollback", (msgspec.structs.replace(WAY_BACK[0], value=math.inf),), fault=False)
    (fact,) = facts_of(never, HERE, CLAUSES)
    assert not never.passed and msgspec.json.decode(msgspec.json.encode(fact))["value"] == 1e9
    assert "back inf s, limit ≤ 5" in never.failures


def test_a_criterion_without_a_limit_only_tells():
    told = Criterion(what="capacity", metric="capacity_per_second", value=12.0, unit="requests/s")
    assert told.holds and told.limit == told.verdict == ""
    assert not msgspec.structs.replace(told, value=math.nan, at_least=0.0).holds


def test_limits_and_days_are_those_of_the_standard():
    assert (limit_of("rollback_seconds", CLAUSES), limit_of("peak_headroom", CLAUSES)) == (5, 1.5)
    assert (days_of("rollback_seconds", CLAUSES), days_of("nobody asks", CLAUSES)) == (30, 90)
    with pytest.raises(LookupError):
        limit_of("nobody asks", CLAUSES)


@pytest.mark.parametrize("clause", ["REL-03", "OPS-05", "OPS-06"])
def test_the_standard_names_the_drill_that_proves_a_clause(clause):
    found = next(one for one in CLAUSES if one.id == clause)
    assert found.command.startswith("guideway drill ") and "guideway drill" in found.do.zh
