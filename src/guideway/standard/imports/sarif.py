"""SARIF 2.1.0 (OASIS): what a linter or a scanner found, as far as nobody suppressed it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from guideway.core.errors import SpecError
from guideway.standard.imports.found import Figure, one_line, seconds
from guideway.standard.imports.json_values import converted, parsed

CRITICAL = 9.0
"""``security-severity`` from which a finding is critical: the scale of CVSS."""
_SEVERITY = "security-severity"

Level = Literal["none", "note", "warning", "error"]


def errors(data: bytes, name: str) -> Figure:
    """Findings of level error; n is all findings. Raises as :func:`_count` does."""
    return _count(data, name, lambda finding: finding.level == "error", "of level error")


def criticals(data: bytes, name: str) -> Figure:
    """Findings whose rule has a ``security-severity`` of 9.0 or more, or is of level error and has none; n is all.

    SARIF does not say whether there is a fix, so each counts as one that could be closed. Raises as :func:`_count`.
    """
    return _count(data, name, _is_critical, "critical")


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """Base: unknown keys are the tool's own affair."""


class _Configuration(_Part, frozen=True):
    level: Level = "warning"


class _Rule(_Part, frozen=True):
    id: str = ""
    default_configuration: _Configuration | None = None
    properties: dict[str, Any] | None = None


class _Component(_Part, frozen=True):
    name: str = ""
    version: str | None = None
    semantic_version: str | None = None
    rules: tuple[_Rule, ...] | None = None


class _Tool(_Part, frozen=True):
    driver: _Component = _Component()
    extensions: tuple[_Component, ...] | None = None


class _Index(_Part, frozen=True):
    index: int = -1


class _RuleReference(_Part, frozen=True):
    id: str = ""
    index: int = -1
    tool_component: _Index | None = None


class _Suppression(_Part, frozen=True):
    status: Literal["accepted", "underReview", "rejected"] | None = None


class _Result(_Part, frozen=True):
    rule_id: str = ""
    rule_index: int = -1
    rule: _RuleReference | None = None
    level: Level | None = None
    kind: str = "fail"
    suppressions: tuple[_Suppression, ...] | None = None
    baseline_state: str | None = None
    properties: dict[str, Any] | None = None


class _Invocation(_Part, frozen=True):
    execution_successful: bool = True
    end_time_utc: str | None = None


class _Run(_Part, frozen=True):
    tool: _Tool
    results: tuple[_Result, ...] | None = None
    invocations: tuple[_Invocation, ...] | None = None


class _Log(_Part, frozen=True):
    version: str
    runs: tuple[_Run, ...]


class _Finding(NamedTuple):
    level: Level
    severity: Any
    """What the rule, or the result itself, says of its severity; None if nothing."""


def _count(data: bytes, name: str, counts: Callable[[_Finding], bool], what: str) -> Figure:
    """How many findings count.

    Raises:
        SpecError: not SARIF 2.1, no run in it, or a run that did not finish or has no results.
    """
    log = converted(parsed(data, name), _Log, name, "not SARIF")
    if not log.version.startswith("2.1"):
        raise SpecError(f"SARIF {one_line(log.version)} is not read, only 2.1", where=name)
    if not log.runs:
        raise SpecError("there is no run in this log", where=name)
    for number, run in enumerate(log.runs, 1):
        _check_run(run, f"{name}: run {number}")
    findings = [finding for run in log.runs for finding in _findings(run)]
    counted = sum(map(counts, findings))
    found = f"{counted} of {len(findings)} findings {what}"
    hidden = sum(_is_suppressed(one) for run in log.runs for one in run.results or ())
    note = ", ".join([found, *([f"{hidden} suppressed"] if hidden else []), *map(_called, log.runs[:3])])
    return Figure(counted, "findings", len(findings), _at(log, name), note)


def _check_run(run: _Run, where: str) -> None:
    """A scan that broke off found nothing because it did not look."""
    if not all(one.execution_successful for one in run.invocations or ()):
        raise SpecError("the tool says that it did not finish", where=where, try_this="run it again")
    if run.results is None:
        raise SpecError("this run has no results, not even an empty list", where=where, try_this="run the tool again")


def _findings(run: _Run) -> Iterator[_Finding]:
    by_id = {rule.id: rule for component in _components(run) for rule in component.rules or ()}
    for result in run.results or ():
        if _is_suppressed(result) or result.baseline_state == "absent":
            continue
        rule = _rule(run, by_id, result)
        level = _level(result, rule)
        if level != "none":
            said = {**((rule.properties if rule else None) or {}), **(result.properties or {})}
            yield _Finding(level, said.get(_SEVERITY))


def _is_suppressed(result: _Result) -> bool:
    """All suppressions must be accepted, which they are when they do not say (3.27.23, 3.35.3)."""
    return bool(result.suppressions) and all(one.status in (None, "accepted") for one in result.suppressions or ())


def _level(result: _Result, rule: _Rule | None) -> Level:
    """The level of a result, with the defaults of the standard (3.27.9, 3.27.10)."""
    if result.level is not None:
        return result.level
    if result.kind != "fail":
        return "none"
    return rule.default_configuration.level if rule and rule.default_configuration else "warning"


def _components(run: _Run) -> tuple[_Component, ...]:
    return (run.tool.driver, *(run.tool.extensions or ()))


def _rule(run: _Run, by_id: dict[str, _Rule], result: _Result) -> _Rule | None:
    """The rule that a result broke: by index, or by the longest part of its id that is a rule (3.27.5)."""
    reference = result.rule or _RuleReference()
    component: _Component | None = run.tool.driver
    if reference.tool_component and reference.tool_component.index >= 0:
        component = dict(enumerate(run.tool.extensions or ())).get(reference.tool_component.index)
    index = max(result.rule_index, reference.index)
    if component and 0 <= index < len(component.rules or ()):
        return (component.rules or ())[index]
    id = result.rule_id or reference.id
    while id and id not in by_id:
        id = id.rpartition("/")[0]
    return by_id.get(id)


def _is_critical(finding: _Finding) -> bool:
    """What claims a severity and gives no number is taken to be critical."""
    if finding.severity is None:
        return finding.level == "error"
    try:
        severity = float(finding.severity)
    except (TypeError, ValueError):
        return True
    return math.isnan(severity) or severity >= CRITICAL


def _called(run: _Run) -> str:
    driver = run.tool.driver
    return one_line(f"{driver.name} {driver.semantic_version or driver.version or ''}")


def _at(log: _Log, name: str) -> float | None:
    """When the first of the scans ended, if they all say so."""
    ends = [max((one.end_time_utc or "" for one in run.invocations or ()), default="") for run in log.runs]
    return min(seconds(end, name, naive_is_utc=True) for end in ends) if all(ends) else None
