"""Assess, bring in, admit: what counts for a release is what trusted keys said about exactly that release."""

from __future__ import annotations

import json

import msgspec
import pytest
from assess_rig import DATA, NOW, SMALL, Project

from guideway.core.dossier import environment_subject
from guideway.core.errors import Refused, SpecError
from guideway.core.evidence import Evidence, Subject
from guideway.core.gate import Verdict
from guideway.core.route import Arm, Route
from guideway.pipeline.admission import admitted
from guideway.pipeline.assess import ADMITTING, assess, gather
from guideway.pipeline.bring import Asked, bring
from guideway.sealing.admit import check_admission
from guideway.sealing.attest import approve, attest, waive
from guideway.signing import signers, statements
from guideway.signing.keys import trusted
from guideway.standard import default_clauses
from guideway.store import evidence, fleet, ledger

DAY = 86400.0


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def person(project, name):
    """Somebody with a key of their own, trusted from now on."""
    made = signers.new(project.shop.home.keys, name)
    project.shop = msgspec.structs.replace(project.shop, trusted=trusted(project.shop.home.keys))
    return made


def judged(project, release, environment="prod", **more):
    found = assess(project.shop, project.spec(environment), release, at=project.now, **more)
    return {one.clause: one for one in found.judgements}


def test_the_dossier_follows_the_signed_steps_back_to_the_data(project):
    dossier = gather(project.shop, project.spec(), project.build())
    assert dossier.subjects["data"] == DATA and dossier.subjects[dossier.ships] == SMALL
    assert {"train", "compress", "evaluate", "package", "scan", "release", "environment"} <= dossier.subjects.keys()
    assert dossier.authors == (project.shop.signer.id,)


def test_what_the_steps_measured_and_what_can_be_seen_is_judged(project):
    said = judged(project, project.build())
    for clause in ("DAT-02", "EVL-01", "SEC-01", "SEC-02", "REL-01"):
        assert said[clause].verdict is Verdict.PASS, said[clause]
    assert said["EXP-03"].verdict is Verdict.FAIL and said["EXP-03"].figure.startswith("use_fields_missing: 3")
    assert said["PRV-01"].verdict is Verdict.UNKNOWN and said["PRV-01"].stops


@pytest.mark.parametrize(
    ("environment", "strategy", "found"),
    [
        ("prod", None, Verdict.PASS),
        ("prod", "all-at-once", Verdict.UNKNOWN),
        ("prod", "shadow", Verdict.UNKNOWN),
        ("dev", None, Verdict.UNKNOWN),
        ("dev", "canary", Verdict.PASS),
    ],
)
def test_that_traffic_moves_behind_a_gate_is_seen_in_how_the_release_is_to_take_over(
    project, environment, strategy, found
):
    file = project.spec(environment)
    asked = msgspec.structs.replace(file.spec.rollout, strategy=strategy)
    file = msgspec.structs.replace(file, spec=msgspec.structs.replace(file.spec, rollout=asked))
    judged = assess(project.shop, file, project.build(), at=project.now).judgements
    assert next(one.verdict for one in judged if one.clause == "REL-02") is found


def test_looking_twice_sees_the_same_evidence(project):
    release = project.build()
    first, second = (judged(project, release) for _ in range(2))
    assert [one.evidence for one in first.values()] == [one.evidence for one in second.values()]


@pytest.mark.catalogue("B41")
def test_an_evaluation_of_the_same_model_for_another_release_does_not_count(project):
    """The same weights under another prompt were evaluated better: that says nothing about this release."""
    bad = project.build(note="a prompt that forgets the roles", perplexity=200.0)
    good = project.build(note="a good prompt", perplexity=1.5)
    assert judged(project, bad)["EVL-01"].verdict is Verdict.FAIL
    assert judged(project, good)["EVL-01"].verdict is Verdict.PASS


def tell(project, metric, value, subject, *, at=NOW, release=None):
    one = Evidence(metric=metric, value=value, unit="", subject=subject, at=at)
    return attest(project.shop.blobs, project.shop.database, project.shop.signer, [one], release=release, at=at)


def test_evidence_about_an_environment_counts_there_until_it_is_too_old(project):
    release = project.build()
    here = Subject("environment", environment_subject("days", "prod"), "environment")
    tell(project, "rollback_seconds", 0.2, here)
    tell(project, "rollback_failed_requests", 0, here)
    assert judged(project, release)["REL-03"].verdict is Verdict.PASS
    assert judged(project, release, "staging")["REL-03"].verdict is Verdict.UNKNOWN
    project.now += 31 * DAY
    assert "expired" in judged(project, release)["REL-03"].figure


@pytest.mark.catalogue("B41")
def test_the_author_cannot_approve_and_somebody_else_can(project):
    release = project.build()
    for who, verdict in ((project.shop.signer, Verdict.FAIL), (person(project, "alice"), Verdict.PASS)):
        approve(
            project.shop.blobs, project.shop.database, who, release,
            environment="prod", why="", older=False, at=NOW,
        )  # fmt: skip
        assert judged(project, release)["REL-04"].verdict is verdict
    assert judged(project, release, "staging")["REL-04"].verdict is Verdict.FAIL


def test_what_a_revoked_key_said_counts_no_more(project):
    release = project.build()
    alice = person(project, "alice")
    approve(project.shop.blobs, project.shop.database, alice, release, environment="prod", why="", older=False, at=NOW)
    signers.revoke(project.shop.home.keys, "alice", at=NOW, reason="left")
    project.shop = msgspec.structs.replace(project.shop, trusted=trusted(project.shop.home.keys))
    assert judged(project, release)["REL-04"].verdict is Verdict.FAIL


def test_what_was_seen_once_never_outlives_what_is_seen_now(project):
    """An approval that counted when it was admitted, and was attached as seen, is gone with its key."""
    release, alice = project.build(), person(project, "alice")

    def admit_here():
        admitted(project.shop, project.spec("dev"), release, lambda event: None)

    admit_here()
    approve(project.shop.blobs, project.shop.database, alice, release, environment="dev", why="", older=False, at=NOW)
    admit_here()
    assert judged(project, release, "dev")["REL-04"].verdict is Verdict.PASS
    signers.revoke(project.shop.home.keys, "alice", at=NOW, reason="left")
    project.shop = msgspec.structs.replace(project.shop, trusted=trusted(project.shop.home.keys))
    assert judged(project, release, "dev")["REL-04"].verdict is Verdict.FAIL


def waive_all(project, environment="prod", until=NOW + 30 * DAY):
    return waive(
        project.shop.blobs,
        project.shop.database,
        person(project, "alice"),
        name="days",
        environment=environment,
        clauses=[clause.id for clause in default_clauses()],
        reason="a trial",
        since=NOW,
        until=until,
    )


def test_nothing_unproven_enters_prod_and_the_ledger_says_why(project):
    release = project.build()
    with pytest.raises(Refused, match="days:1 into 'prod': admit refused"):
        admitted(project.shop, project.spec(), release, lambda event: None)
    (entry,) = ledger.entries(project.shop.database, limit=1, newest_first=True)
    assert entry.what == "admit refused" and "PRV-01 UNKNOWN" in entry.why


def test_a_waiver_lets_it_in_is_attached_and_ends(project):
    release = project.build()
    waiver = waive_all(project)
    told = []
    found = admitted(project.shop, project.spec(), release, told.append)
    assert found.waivers == (waiver.envelope,) and any("waived by alice" in event.text for event in told)
    check_admission(project.shop.blobs, release.digest, project.shop.trusted, environment="prod")
    assert waiver in gather(project.shop, project.spec(), release).waivers
    project.now += 31 * DAY
    with pytest.raises(Refused, match="waiver ended"):
        admitted(project.shop, project.spec(), release, told.append)


def test_the_admission_names_the_policy_and_what_was_seen(project):
    release = project.build()
    waive_all(project)
    found = admitted(project.shop, project.spec(), release, lambda event: None)
    kept = {one.evidence.metric for one in evidence.about(project.shop.database, [release.digest])}
    assert {"trusted_signatures", "steps_without_provenance", "card_completeness"} <= kept
    project.path.write_text(project.path.read_text() + "standard: {clauses: {DAT-02: {bite: block}}}\n")
    assert assess(project.shop, project.spec(), release, at=NOW, when=ADMITTING).policy != found.policy


@pytest.mark.catalogue("B40")
def test_an_older_release_is_refused_in_prod_and_welcome_in_dev(project):
    old, new = project.build(note="one"), project.build(note="two")
    waive_all(project, environment="*")
    for environment in ("dev", "prod"):
        admitted(project.shop, project.spec(environment), new, lambda event: None)
    admitted(project.shop, project.spec("dev"), old, lambda event: None)
    with pytest.raises(Refused, match="this one is older"):
        admitted(project.shop, project.spec("prod"), old, lambda event: None)


JUNIT = b'<testsuite name="t" tests="2" failures="%d"><testcase name="a"/><testcase name="b">%s</testcase></testsuite>'


def brought(project, release, name, data, **asked):
    report = project.path.parent / name
    report.write_bytes(data)
    return bring(project.shop, project.spec(), release, project.shop.signer, Asked(report=report, **asked))


def test_a_report_of_another_tool_becomes_evidence_by_hand(project):
    release = project.build()
    (one,) = brought(project, release, "suite.xml", JUNIT % (0, b""), clause="SEC-06")
    assert (one.metric, one.value, one.n, one.automatic) == ("security_tests_failed", 0.0, 2, False)
    said = judged(project, release)["SEC-06"]
    assert said.verdict is Verdict.PASS and not said.automatic
    assert project.shop.blobs.read(one.inputs[0]) == JUNIT % (0, b"")


def test_a_failed_suite_fails_its_clause(project):
    release = project.build()
    brought(project, release, "suite.xml", JUNIT % (1, b"<failure/>"), clause="SEC-06")
    assert judged(project, release)["SEC-06"].verdict is Verdict.FAIL


@pytest.mark.catalogue("B41")
def test_a_statement_about_another_digest_is_refused_and_leaves_nothing(project):
    release = project.build()
    other = statements.test_result(
        subjects={"x": "sha256:" + "9" * 64}, result="PASSED", configuration={}, passed=["a"]
    )
    with pytest.raises(Refused, match="about another digest"):
        brought(project, release, "other.json", json.dumps(other).encode(), clause="SEC-06")
    assert judged(project, release)["SEC-06"].verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("data", "asked", "told"),
    [
        (b"", {}, "the file is empty"),
        (b'{"metric": "no_such_figure", "value": 1}', {}, "no_such_figure"),
        (JUNIT % (0, b""), {"clause": "XXX-1"}, "no clause called 'XXX-1'"),
        (b'{"metric": "line_coverage", "value": 0.9}', {}, "no 'code' to be about"),
        (b'{"metric": "near_overlap", "value": -5}', {}, "near_overlap cannot be -5"),
        (b'{"metric": "near_overlap", "value": 0, "at": 1900000000}', {}, "near_overlap is dated in the future"),
    ],
)
def test_a_report_that_proves_nothing_is_one_clear_line(project, data, asked, told):
    with pytest.raises(SpecError, match=told):
        brought(project, project.build(), "report.json", data, **asked)


def test_a_figure_that_guideway_measures_cannot_be_brought_at_all(project):
    release = project.build()
    data = json.dumps({"metric": "rejected_rows", "value": 5}).encode()
    with pytest.raises(SpecError, match="rejected_rows"):
        brought(project, release, "better.json", data)
    assert judged(project, release)["DAT-02"].verdict is Verdict.PASS


def serve(project, release, environment="prod"):
    epoch = fleet.take_epoch(project.shop.database)
    fleet.put_route(project.shop.database, Route(environment, "days", 1, epoch, Arm(release.digest, ())))


def test_a_comparison_proves_something_only_against_the_release_that_serves_now(project):
    first, second = project.build(note="first"), project.build(note="second")
    new = project.build(note="third", against=first)
    assert judged(project, new)["EVL-01"].verdict is Verdict.PASS
    serve(project, first)
    assert judged(project, new)["EVL-01"].verdict is Verdict.PASS
    serve(project, second)
    said = judged(project, new)["EVL-01"]
    assert said.verdict is Verdict.UNKNOWN and said.stops and "serving_loss_gain" in said.figure
    assert judged(project, new, "staging")["EVL-01"].verdict is Verdict.PASS
