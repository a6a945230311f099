"""JUnit: what ran, what failed, and reports that contradict themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest
from import_rig import figure, refused

from guideway.standard.imports import detect

MAVEN = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="com.acme.BasketTest" time="0.071" tests="3" errors="1" skipped="1" failures="0"
    timestamp="2026-03-01T10:00:00">
  <properties><property name="java.version" value="21"/></properties>
  <testcase name="adds" classname="com.acme.BasketTest" time="0.01"/>
  <testcase name="removes" classname="com.acme.BasketTest" time="0.02"><error type="NullPointerException"/></testcase>
  <testcase name="later" classname="com.acme.BasketTest"><skipped/></testcase>
  <system-out><![CDATA[<!DOCTYPE html> <testcase><failure/></testcase>]]></system-out>
</testsuite>
"""
NESTED = """<testsuites tests="3" failures="1">
  <testsuite name="outer" tests="3" failures="1" timestamp="2026-03-02T10:00:00+02:00">
    <testsuite name="inner" tests="2" failures="1" timestamp="2026-03-01T09:00:00Z">
      <testcase name="a"><failure message="no"/></testcase><testcase name="b"/>
    </testsuite>
    <testcase name="c"/>
  </testsuite>
</testsuites>
"""


def suite(inside: str, attributes: str = "") -> str:
    return f'<testsuite name="s" {attributes}>{inside}</testsuite>'


@pytest.mark.parametrize(
    ("report", "failed", "ran"),
    [
        (MAVEN, 1, 2),
        (NESTED, 1, 3),
        (suite("<testcase/>"), 0, 1),
        (suite("<testcase><failure/><error/></testcase>"), 1, 1),
        (suite("<testcase><skipped/><failure/></testcase>"), 1, 1),
        (suite('<testcase/><testcase status="notrun"/>'), 0, 1),
        (suite('<testcase/><testcase status="failed"/>'), 1, 2),
        (suite("<error>the suite broke before a test ran</error>"), 1, 1),
        (suite("<testcase/><failure/>"), 1, 2),
        (suite("<testcase><rerunFailure/></testcase>"), 0, 1),
        (f"<j:testsuites xmlns:j='urn:j'>{suite('<testcase/>')}</j:testsuites>", 0, 1),
        (suite("<testcase/>", 'tests="" failures="0" errors="0"'), 0, 1),
    ],
)
def test_failures_and_tests_that_ran_are_counted(report, failed, ran):
    found = figure(report, "TRN-05")
    assert (found.metric, found.value, found.n, found.unit) == ("tests_failed", failed, ran, "tests")


@pytest.mark.parametrize(("clause", "metric"), [("SEC-06", "security_tests_failed"), ("ROB-03", "fuzz_failures")])
def test_the_clause_says_which_metric_a_report_proves(clause, metric):
    assert figure(MAVEN, clause).metric == metric


@pytest.mark.parametrize(
    ("report", "at"),
    [(MAVEN, 1772359200.0), (NESTED, 1772355600.0), (suite("<testcase/>"), None)],
)
def test_the_time_is_that_of_the_oldest_suite(report, at):
    assert figure(report, "TRN-05").at == at


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (suite("<testcase/>", 'tests="3"'), ":1: suite 's' claims 3 tests and shows 1"),
        (suite("<testcase/>", 'failures="1"'), ":1: suite 's' claims 1 failures and shows 0"),
        (suite("<testcase/>", 'errors="1"'), "claims 1 failures and shows 0"),
        (f'<testsuites failures="2">{suite("<testcase><failure/></testcase>")}</testsuites>', "claims 2 failures"),
        (suite("<testcase/>", 'tests="many"'), "tests is 'many', not a number"),
        (suite("<testcase/>", 'tests="nan"'), "tests is 'nan', not a number"),
        (suite("<testcase/>", 'timestamp="yesterday"'), "'yesterday' is not a time"),
        (suite("<testcase><skipped/></testcase>"), "no test ran (1 skipped)"),
        (suite(""), "no test ran (0 skipped)"),
    ],
)
def test_a_report_that_contradicts_itself_or_says_nothing_is_refused(report, says):
    assert says in refused(report, "TRN-05")


def test_a_report_without_its_clause_names_the_clauses_that_take_it():
    assert "(--clause TRN-05 or ROB-03 or SEC-06)" in refused(MAVEN)


def test_a_clause_that_takes_no_such_report_says_what_it_takes():
    assert "SEC-05 takes no report in the format junit (it takes json)" in refused(MAVEN, "SEC-05")
    assert "(`guideway build` measures it)" in refused(MAVEN, "DAT-02")


TESTS = """
import pytest

@pytest.fixture
def torn():
    yield
    raise RuntimeError

def test_good(): pass
def test_bad(): assert 1 == 2, "<&\\x1b[31m'\\""
def test_torn(torn): pass
@pytest.mark.skip
def test_skipped(): pass
@pytest.mark.xfail
def test_known(): assert False
"""


def test_what_pytest_itself_writes_is_read(tmp_path):
    (tmp_path / "test_tiny.py").write_text(TESTS)
    argv = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "--junitxml", "report.xml", "test_tiny.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *argv], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1, done.stdout
    data = (tmp_path / "report.xml").read_bytes()
    found = figure(data, "TRN-05")
    assert detect(data, "report.xml") == "junit"
    assert (found.value, found.n) == (2, 3)  # the good one, the bad one, and the one whose fixture broke
    assert "3 ran, 2 skipped" in found.note and found.at is not None and found.at > 1.7e9
