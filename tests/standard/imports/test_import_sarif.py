"""SARIF: which findings count, for a linter and for a scanner of holes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from import_rig import as_json, figure, refused

from guideway.standard.imports import detect

RULES = [
    {"id": "CVE-1", "properties": {"security-severity": "9.8"}},
    {"id": "CVE-2", "properties": {"security-severity": "7.5"}},
    {"id": "CVE-3"},
    {"id": "CVE-4", "properties": {"security-severity": "very"}},
    {"id": "LOUD", "defaultConfiguration": {"level": "error"}},
    {"id": "CVE-5", "properties": {"security-severity": 9.0}},
    {"id": "CVE-6", "properties": {"security-severity": "NaN"}},
]


def log(*results: dict[str, Any], **run: Any) -> bytes:
    tool = {"driver": {"name": "scanner", "version": "1.2", "rules": RULES}}
    return as_json({"version": "2.1.0", "runs": [{"tool": tool, "results": list(results), **run}]})


def result(broken: str = "CVE-3", level: str | None = "error", **more: Any) -> dict[str, Any]:
    return {"ruleId": broken, "message": {"text": "m"}, **({"level": level} if level else {}), **more}


@pytest.mark.parametrize(
    ("results", "counted", "n"),
    [
        ([], 0, 0),
        ([result(), result(level="warning"), result(level="note"), result(level="none")], 1, 3),
        ([result(level=None)], 0, 1),
        ([result("LOUD", None)], 1, 1),
        ([result("LOUD/part/of", None)], 1, 1),
        ([result("", None, ruleIndex=4)], 1, 1),
        ([result("", None, rule={"index": 4})], 1, 1),
        ([result("", None, rule={"id": "LOUD"})], 1, 1),
        ([result("", None, ruleIndex=99)], 0, 1),
        ([result("LOUD", None, kind="pass")], 0, 0),
        ([result(baselineState="absent")], 0, 0),
        ([result(baselineState="unchanged")], 1, 1),
        ([result(suppressions=[])], 1, 1),
        ([result(suppressions=[{"kind": "inSource"}])], 0, 0),
        ([result(suppressions=[{"kind": "external", "status": "accepted"}])], 0, 0),
        ([result(suppressions=[{"kind": "external", "status": "underReview"}])], 1, 1),
        ([result(suppressions=[{"status": "accepted"}, {"status": "rejected"}])], 1, 1),
        ([result(suppressions=None, properties=None)], 1, 1),
    ],
)
def test_findings_of_level_error_count_unless_somebody_answered_for_them(results, counted, n):
    found = figure(log(*results), "TRN-05")
    assert (found.metric, found.value, found.n) == ("lint_errors", counted, n)


@pytest.mark.parametrize(
    ("found", "critical"),
    [
        (result("CVE-1", "error"), True),
        (result("CVE-1", "warning"), True),
        (result("CVE-2", "error"), False),
        (result("CVE-3", "error"), True),
        (result("CVE-3", "warning"), False),
        (result("CVE-4", "note"), True),
        (result("CVE-5", "note"), True),
        (result("CVE-6", "note"), True),
        (result("unknown", "error"), True),
        (result("CVE-2", "error", properties={"security-severity": "9.1"}), True),
        (result("CVE-1", "error", suppressions=[{"kind": "external"}]), False),
    ],
)
def test_critical_is_nine_or_more_and_whatever_is_loud_and_says_nothing(found, critical):
    assert figure(log(found), "SEC-03").value == critical


def test_a_rule_of_an_extension_is_found_by_its_own_index():
    extension = {"name": "more", "rules": [{"id": "X", "properties": {"security-severity": "9.9"}}]}
    run = {"tool": {"driver": {"name": "scanner", "rules": RULES[1:2]}, "extensions": [extension]}}
    found = result("", "note", rule={"index": 0, "toolComponent": {"index": 0}})
    assert figure(log(found, **run), "SEC-03").value == 1


def test_all_runs_count_and_the_note_names_the_tools():
    run = {"tool": {"driver": {"name": "a\x1b[2J", "semanticVersion": "3"}}, "results": [result()]}
    found = figure(as_json({"version": "2.1.0", "runs": [run, run]}), "TRN-05")
    assert found.value == 2 and found.note == "2 of 2 findings of level error, a [2J 3, a [2J 3"


def test_the_time_is_the_end_of_the_scan_if_every_run_says_it():
    said = {"invocations": [{"executionSuccessful": True, "endTimeUtc": "2026-03-01T10:00:00Z"}]}
    assert figure(log(**said), "TRN-05").at == 1772359200.0
    assert figure(log(), "TRN-05").at is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (log(invocations=[{"executionSuccessful": False}]), "run 1: the tool says that it did not finish"),
        (log(results=None), "run 1: this run has no results, not even an empty list"),
        (as_json({"version": "2.1.0", "runs": []}), "there is no run in this log"),
        (as_json({"version": "1.0.0", "runs": []}), "SARIF 1.0.0 is not read, only 2.1"),
        (as_json({"runs": []}), "not SARIF: object missing required field 'version'"),
        (as_json({"version": "2.1.0", "runs": [{}]}), "not SARIF: object missing required field 'tool' - at 'runs[0]'"),
        (log(result(level="fatal")), "not SARIF: invalid enum value 'fatal'"),
        (log(result(suppressions=[{"status": "maybe"}])), "not SARIF: invalid enum value 'maybe'"),
    ],
)
def test_a_scan_that_broke_off_or_is_no_scan_is_refused(data, says):
    assert says in refused(data, "TRN-05")


def test_what_ruff_itself_writes_is_read(tmp_path):
    (tmp_path / "tiny.py").write_text("import os\nimport sys\nprint(undefined)\n")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ruff"),
            "check",
            "--isolated",
            "--no-cache",
            "--select",
            "F",
            "--output-format",
            "sarif",
            ".",
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert detect(done.stdout, "ruff.sarif") == "sarif"
    found = figure(done.stdout, "TRN-05")
    assert (found.value, found.n) == (3, 3) and "ruff" in found.note
