"""in-toto: about which digests a statement speaks, what it says, and that a signature of others proves nothing here."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from import_rig import CLAUSES, NAME, as_json, refused

from guideway.core.dossier import code_subject
from guideway.core.evidence import Evidence, Interval, Subject
from guideway.signing import dsse, statements
from guideway.signing.keys import signer
from guideway.standard.imports import Found, detect, read

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
RESULT = {"result": "PASSED", "configuration": [], "passedTests": ["a", "b"], "warnedTests": ["c"], "failedTests": []}


def test_result(**change: Any) -> dict[str, Any]:
    predicate = {key: value for key, value in {**RESULT, **change}.items() if value is not None}
    return statements.statement(statements.TEST_RESULT, {"model": ONE, "other": TWO}, predicate)


test_result.__test__ = False  # type: ignore[attr-defined]


def fact(metric: str = "lint_errors", digest: str = ONE, **more: Any) -> Evidence:
    return Evidence(metric=metric, value=2.0, unit="findings", subject=Subject("code", digest), **more)


def ours(*facts: Evidence, subjects: dict[str, str] | None = None) -> dict[str, Any]:
    predicate = {"evidence": msgspec.to_builtins(facts)}
    return statements.statement(statements.EVIDENCE, subjects or {"code": ONE}, predicate)


def found(statement: dict[str, Any], clause: str | None = "TRN-05") -> Found:
    data = as_json(statement)
    assert detect(data, NAME) == "in-toto"
    return read(data, "in-toto", CLAUSES[clause] if clause else None, name=NAME)


@pytest.mark.parametrize(
    ("change", "failed", "n"),
    [
        ({}, 0, 3),
        ({"result": "FAILED", "failedTests": ["d"]}, 1, 4),
        ({"result": "FAILED", "failedTests": ["a", "d", "d"]}, 2, 4),
        ({"result": "PASSED", "failedTests": ["d"]}, 1, 4),
        ({"result": "FAILED", "failedTests": None}, 1, 4),
        ({"result": "FAILED", "passedTests": None, "warnedTests": None, "failedTests": None}, 1, 1),
        ({"passedTests": ["a"] * 1000, "warnedTests": None}, 0, 1),
    ],
)
def test_failed_tests_are_counted_and_each_name_once(change, failed, n):
    (one,) = found(test_result(**change)).facts
    assert (one.metric, one.value, one.n) == ("tests_failed", failed, n)


@pytest.mark.catalogue("B41")
def test_the_digests_that_a_statement_is_about_come_with_it():
    assert found(test_result()).subjects == {ONE, TWO}
    about_code = test_result() | {"subject": [{"name": "repository", "digest": {"gitCommit": "a" * 40, "other": "x"}}]}
    assert found(about_code).subjects == {code_subject("a" * 40)}


def test_the_note_says_whether_somebody_signed_and_nobody_is_believed(tmp_path):
    assert "not signed" in found(test_result()).facts[0].note
    envelope = json.loads(dsse.seal(test_result(), signer(tmp_path)))
    (one,) = found(envelope).facts
    assert f"signed by key {envelope['signatures'][0]['keyid'][:12]}" in one.note and "not checked" in one.note
    envelope["signatures"][0]["sig"] = "AAAA"
    assert found(envelope).facts[0].value == one.value


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (test_result() | {"_type": "https://in-toto.io/Statement/v0.1"}, "'https://in-toto.io/Statement/v0.1' is not"),
        (test_result() | {"subject": []}, "the statement is about nothing"),
        (test_result() | {"subject": [{"name": "m", "digest": {"md5": "0"}}]}, "'m' has no sha256 and no gitCommit"),
        (test_result() | {"subject": [{"digest": {"sha256": "ab"}}]}, "'ab' is not a sha256 digest"),
        (test_result() | {"subject": [{"digest": {"sha256": "A" * 64}}]}, "is not a sha256 digest"),
        (test_result() | {"predicateType": "https://cosign/x"}, "predicates of type 'https://cosign/x' are not read"),
        (test_result() | {"predicate": 3}, "not an in-toto statement: expected 'object', got 'int'"),
        (test_result(result="GREAT"), "not a test result: invalid enum value 'GREAT'"),
        (test_result(passedTests=None, warnedTests=None), "the result is PASSED, and no test is named"),
        (test_result(failedTests="d"), "not a test result"),
        ({"predicateType": "x"}, "not an in-toto statement: object missing required field '_type'"),
        ({"payload": "%%%", "payloadType": dsse.PAYLOAD_TYPE, "signatures": []}, "not base64"),
        ({"payload": "é", "payloadType": dsse.PAYLOAD_TYPE, "signatures": []}, "not base64"),
        ({"payload": "e30=", "payloadType": "text/plain", "signatures": []}, "the envelope holds 'text/plain'"),
        ({"payload": "e30", "payloadType": dsse.PAYLOAD_TYPE}, "not a DSSE envelope"),
        ({"payload": "e30=", "payloadType": dsse.PAYLOAD_TYPE, "signatures": []}, "missing required field '_type'"),
    ],
)
def test_what_is_no_whole_statement_is_refused(statement, says):
    assert says in refused(as_json(statement), "TRN-05")


def test_a_broken_payload_says_that_it_is_the_payload():
    payload = base64.b64encode(b'{"_type": ').decode()
    envelope = {"payload": payload, "payloadType": dsse.PAYLOAD_TYPE, "signatures": []}
    assert "report.txt: payload:1: not JSON: it ends in the middle" in refused(as_json(envelope), "TRN-05")


def test_a_test_result_needs_a_clause():
    assert "(--clause TRN-05 or SEC-06)" in refused(as_json(test_result()))


def test_evidence_of_another_installation_keeps_all_that_it_says():
    said = fact(n=7, slice="a", interval=Interval(1, 3, 0.95, "wilson"), at=5.0, valid_until=9.0)
    (one,) = found(ours(said, fact("rows"))).facts
    assert (one.metric, one.value, one.unit, one.n, one.slice) == ("lint_errors", 2.0, "findings", 7, "a")
    assert (one.interval, one.at, one.valid_until) == (said.interval, 5.0, 9.0)
    assert one.note == "1 of 2 facts of a Guideway statement, not signed"
    assert found(ours(fact()), None).facts[0].at is None


def test_the_by_products_of_a_step_may_be_about_its_output_or_its_inputs():
    facts = [msgspec.to_builtins(fact(digest=TWO))]
    given = {"name": "s", "parameters": {}, "builder": "b", "run": "r", "evidence": facts}
    step = statements.provenance(output=ONE, inputs={"code": TWO}, **given)
    assert found(step).subjects == {TWO}
    foreign = statements.provenance(output=ONE, inputs={"code": THREE}, **given)
    assert "is about a digest that the statement does not name" in refused(as_json(foreign), "TRN-05")


@pytest.mark.catalogue("B41")
@pytest.mark.parametrize(
    ("statement", "says"),
    [
        (ours(fact(digest=TWO)), "'lint_errors' is about a digest that the statement does not name"),
        (ours(fact(), fact("tests_failed", TWO), subjects={"a": ONE, "b": TWO}), "the facts are about 2 digests"),
        (ours(fact("perplexity")), "nothing in this statement may be imported for that (asked: line_coverage, lint_"),
        (ours(), "nothing in this statement may be imported"),
        (ours(fact(n=-1)), "'lint_errors' has a time or a number below zero"),
        (ours(fact(at=-1.0)), "'lint_errors' has a time or a number below zero"),
    ],
)
def test_evidence_about_something_else_is_refused(statement, says):
    assert says in refused(as_json(statement), "TRN-05")


def test_what_guideway_measures_cannot_come_in_by_hand_even_from_guideway():
    assert found(ours(fact("lint_errors"), fact("dirty_files")), None).facts[0].metric == "lint_errors"
    assert "nothing in this statement" in refused(as_json(ours(fact("dirty_files"))))
