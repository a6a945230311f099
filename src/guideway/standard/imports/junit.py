"""JUnit XML: how many tests failed, of how many that ran."""

from __future__ import annotations

import msgspec

from guideway.core.errors import SpecError
from guideway.standard.imports.found import Figure, number, one_line, seconds
from guideway.standard.imports.safe_xml import Attributes, walk

ROOTS = ("testsuites", "testsuite")
_FAILED = ("failure", "error")
_FAILED_STATUS = ("failed", "failure", "error")
_SKIPPED_STATUS = ("skipped", "notrun", "disabled", "ignored")


def failed(data: bytes, name: str) -> Figure:
    """Tests that failed or broke; n is how many ran. A failure outside of a test (a broken suite) counts as one.

    Raises:
        SpecError: not JUnit, no test ran, or a suite claims more tests or failures than it shows.
    """
    report = _Report(name)
    walk(data, name, report.opens, report.closes)
    return report.figure()


class _Suite(msgspec.Struct):
    """What a suite claims in its attributes, and what was seen in it. ``bad`` counts elements, not tests."""

    name: str
    line: int
    claims_tests: float = 0
    claims_bad: float = 0
    tests: int = 0
    bad: int = 0


class _Case(msgspec.Struct):
    failed: bool = False
    skipped: bool = False


class _Report:
    """Takes elements as they come."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._suites: list[_Suite] = []
        self._case: _Case | None = None
        self._called = ""
        self._times: list[float] = []
        self._ran = self._failed = self._skipped = 0

    def opens(self, tag: str, attributes: Attributes, line: int) -> None:
        if not self._suites and tag not in ROOTS:
            raise SpecError(f"<{one_line(tag)}> is not JUnit", where=f"{self._name}:{line}")
        if tag in ROOTS:
            self._open_suite(attributes, line)
        elif tag == "testcase":
            status = (attributes.get("status") or attributes.get("result") or "").lower()
            self._case = _Case(failed=status in _FAILED_STATUS, skipped=status in _SKIPPED_STATUS)
        elif tag in _FAILED:
            self._suites[-1].bad += 1
            if self._case:
                self._case.failed = True
            else:
                self._count(_Case(failed=True))
        elif tag == "skipped" and self._case:
            self._case.skipped = True

    def closes(self, tag: str) -> None:
        if tag == "testcase" and self._case:
            self._suites[-1].tests += 1
            self._count(self._case)
            self._case = None
        elif tag in ROOTS:
            self._close_suite()

    def figure(self) -> Figure:
        if not self._ran:
            raise SpecError(f"no test ran ({self._skipped} skipped)", where=self._name)
        note = f"tests: {self._ran} ran, {self._skipped} skipped" + (f", {self._called}" if self._called else "")
        return Figure(self._failed, "tests", self._ran, min(self._times, default=None), note)

    def _count(self, case: _Case) -> None:
        """A test that failed counts even if it says that it was skipped too."""
        self._failed += case.failed
        self._skipped += case.skipped and not case.failed
        self._ran += case.failed or not case.skipped

    def _open_suite(self, attributes: Attributes, line: int) -> None:
        where = f"{self._name}:{line}"
        claims = {key: number(attributes.get(key) or "0", key, where) for key in ("tests", "failures", "errors")}
        suite = _Suite(
            one_line(attributes.get("name", "")), line, claims["tests"], claims["failures"] + claims["errors"]
        )
        self._called = self._called or suite.name
        self._suites.append(suite)
        if attributes.get("timestamp"):
            self._times.append(seconds(attributes["timestamp"], where, naive_is_utc=True))

    def _close_suite(self) -> None:
        suite = self._suites.pop()
        for claimed, seen, what in (
            (suite.claims_tests, suite.tests, "tests"),
            (suite.claims_bad, suite.bad, "failures"),
        ):
            if claimed > seen:
                raise SpecError(
                    f"suite '{suite.name}' claims {claimed:g} {what} and shows {seen}",
                    where=f"{self._name}:{suite.line}",
                    try_this="import the report as the test tool wrote it",
                )
        if self._suites:
            self._suites[-1].tests += suite.tests
            self._suites[-1].bad += suite.bad
