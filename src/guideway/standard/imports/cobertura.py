"""Cobertura XML: the share of lines that tests ran."""

from __future__ import annotations

from guideway.core.errors import SpecError
from guideway.standard.imports.found import Figure, number, one_line
from guideway.standard.imports.safe_xml import Attributes, walk

ROOT = "coverage"
_ROUNDING = 0.01
_MILLISECONDS = 1e11


def line_coverage(data: bytes, name: str) -> Figure:
    """Covered lines over valid lines; n is the valid ones. The rate that the report states must agree with both.

    Raises:
        SpecError: not Cobertura, no line in it, or figures that contradict each other.
    """
    report = _Report(name)
    walk(data, name, report.opens, report.closes)
    return report.figure()


class _Report:
    """Takes elements as they come; lines are counted for tools that state no totals."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._root: Attributes | None = None
        self._where = name
        self._methods = self._lines = self._hit = 0

    def opens(self, tag: str, attributes: Attributes, line: int) -> None:
        where = f"{self._name}:{line}"
        if self._root is None:
            if tag != ROOT:
                raise SpecError(f"<{one_line(tag)}> is not Cobertura", where=where)
            self._root, self._where = attributes, where
        elif tag == "methods":
            self._methods += 1
        elif tag == "line" and not self._methods:  # the lines of methods stand a second time under their class
            self._lines += 1
            self._hit += number(attributes.get("hits", ""), "hits", where) > 0

    def closes(self, tag: str) -> None:
        self._methods -= tag == "methods"

    def figure(self) -> Figure:
        valid, covered = self._total("lines-valid", self._lines), self._total("lines-covered", self._hit)
        if not valid:
            raise SpecError("there is no line in this report", where=self._where)
        rate = number((self._root or {}).get("line-rate", ""), "line-rate", self._where)
        if covered > valid or abs(rate - covered / valid) > _ROUNDING:
            raise SpecError(
                f"line-rate is {rate:g}, and {covered:g} of {valid:g} lines are covered: one of them is wrong",
                where=self._where,
                try_this="import the report as the coverage tool wrote it",
            )
        return Figure(covered / valid, "share", int(valid), self._at(), f"{covered:g} of {valid:g} lines covered")

    def _total(self, called: str, counted: int) -> float:
        said = (self._root or {}).get(called)
        return float(counted) if said is None else number(said, called, self._where)

    def _at(self) -> float | None:
        """Seconds since 1970; most tools write milliseconds."""
        said = (self._root or {}).get("timestamp")
        if not said:
            return None
        at = number(said, "timestamp", self._where)
        return at / 1000 if at > _MILLISECONDS else at
