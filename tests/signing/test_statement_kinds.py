"""Statements of every kind: about digests, the same for the same facts, and never about something else."""

from __future__ import annotations

import pytest

from guideway.core.artifact import canonical_json
from guideway.core.errors import Refused
from guideway.core.evidence import Evidence, Subject
from guideway.signing import statements

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
FACT = Evidence(metric="exact_match", value=0.9, unit="share", subject=Subject("artifact", ONE), n=50)


@pytest.mark.parametrize(
    ("said", "kind", "predicate"),
    [
        (
            statements.test_result(subjects={"m": ONE}, result="FAILED", configuration={"set": TWO}, url="https://a.b/c",
                                   passed=["b", "a"], failed={"c"}),
            "https://in-toto.io/attestation/test-result/v0.1",
            {"result": "FAILED", "configuration": [{"name": "set", "digest": {"sha256": "2" * 64}}],
             "url": "https://a.b/c", "passedTests": ["a", "b"], "warnedTests": [], "failedTests": ["c"]},
        ),
        (
            statements.test_result(subjects={"m": ONE}, result="PASSED", configuration={}),
            "https://in-toto.io/attestation/test-result/v0.1",
            {"result": "PASSED", "configuration": [], "passedTests": [], "warnedTests": [], "failedTests": []},
        ),
        (
            statements.approval(name="m", release=ONE, environment="prod", why="looks good", older=True,
                                at="2025-01-02"),
            "urn:guideway:approval:v1",
            {"environment": "prod", "why": "looks good", "older": True, "at": "2025-01-02"},
        ),
        (
            statements.waiver(name="m", subject=ONE, clauses=["B-2", "A-1", "B-2"], environment="prod",
                              reason="a reason", since="2025-01-01", until="2025-02-01"),
            "urn:guideway:waiver:v1",
            {"clauses": ["A-1", "B-2"], "environment": "prod", "reason": "a reason",
             "since": "2025-01-01", "until": "2025-02-01"},
        ),
    ],
)  # fmt: skip
def test_a_statement_says_what_it_was_told_about_a_digest(said, kind, predicate):
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"] == [{"name": "m", "digest": {"sha256": "1" * 64}}]
    assert (said["predicateType"], said["predicate"]) == (kind, predicate)


def test_evidence_is_told_whole():
    said = statements.evidence(subjects={"b": TWO, "a": ONE}, found=[FACT])
    assert [one["name"] for one in said["subject"]] == ["a", "b"]
    assert said["predicateType"] == "urn:guideway:evidence:v1"
    subject = {"kind": "artifact", "digest": ONE, "role": ""}
    fact = {"metric": "exact_match", "value": 0.9, "unit": "share", "n": 50, "subject": subject}
    assert said["predicate"]["evidence"] == [fact]


@pytest.mark.catalogue("B41")
def test_evidence_of_another_digest_is_refused():
    with pytest.raises(Refused, match="'exact_match' is about another digest"):
        statements.evidence(subjects={"m": TWO}, found=[FACT])


@pytest.mark.parametrize("verdict", ["PASS", "PASSED", "FAIL", "FAILED", "UNKNOWN", "pass", ""])
def test_only_what_passed_is_verified(verdict):
    result = "PASSED" if verdict in ("PASS", "PASSED") else "FAILED"
    said = statements.verification(release=ONE, name="m", policy="urn:x", verdict=verdict, at="now", inputs=[TWO])
    assert said["predicate"]["verificationResult"] == result
    assert said["predicate"]["policy"] == {"uri": "urn:x"}


def test_a_verification_can_name_the_text_of_its_policy():
    said = statements.verification(
        release=ONE, name="m", policy="urn:x", verdict="PASS", at="now", inputs=[], policy_digest=TWO
    )
    assert said["predicate"]["policy"] == {"uri": "urn:x", "digest": {"sha256": "2" * 64}}


def test_a_release_names_what_belongs_to_it():
    said = statements.released(name="m", release=ONE, beside=[("a/b", TWO)])
    assert statements.byproducts(said) == [("a/b", TWO)] and statements.subjects(said) == {ONE}
    assert statements.byproducts(statements.released(name="m", release=ONE)) == []


def test_subjects_without_a_sha256_are_none_of_ours():
    assert statements.subjects({"subject": [{"name": "a", "digest": {"gitCommit": "ab"}}, {"uri": "x"}]}) == set()


def test_the_same_facts_in_any_order_give_the_same_text():
    first = statements.test_result(subjects={"a": ONE, "b": TWO}, result="PASSED", configuration={"x": ONE, "y": TWO})
    other = statements.test_result(subjects={"b": TWO, "a": ONE}, result="PASSED", configuration={"y": TWO, "x": ONE})
    assert canonical_json(first) == canonical_json(other)
