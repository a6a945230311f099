"""Reports of other tools as facts, for ``guideway evidence import``: bytes in, figures out, or one clear error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from guideway.core.errors import SpecError
from guideway.standard.clauses import Check, Clause, Format, default_clauses
from guideway.standard.imports import cobertura, intoto, junit, plain, sarif
from guideway.standard.imports.found import Figure, Found, Imported, one_line
from guideway.standard.imports.json_values import parsed
from guideway.standard.imports.safe_xml import check_text, root

__all__ = ["LARGEST", "NUMBERS", "Found", "Imported", "detect", "read"]

LARGEST = 32 * 1024 * 1024
"""Bytes of a report at the most."""


def _test_result(data: bytes, name: str) -> Figure:
    return intoto.failed(intoto.opened(data, name), name)


NUMBERS: Mapping[Format, Mapping[str, Callable[[bytes, str], Figure]]] = {
    "junit": {
        "tests_failed": junit.failed,
        "security_tests_failed": junit.failed,
        "fuzz_failures": junit.failed,
    },
    "cobertura": {"line_coverage": cobertura.line_coverage},
    "sarif": {"lint_errors": sarif.errors, "fixable_criticals": sarif.criticals},
    "in-toto": {"tests_failed": _test_result, "security_tests_failed": _test_result},
}
"""Which number of a report stands for which metric. These formats do not name metrics, so this table is the rule."""


def detect(data: bytes, name: str) -> Format:
    """The format of *data*, by what is in it; *name* is only what people call the file.

    Raises:
        SpecError: empty, too large, neither XML nor JSON, or XML of another kind.
    """
    _check_size(data, name)
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if not start:
        raise SpecError("the file is empty", where=name)
    if start == b"<":
        return _xml_format(root(data, name), name)
    if start in (b"{", b"["):
        return _json_format(parsed(data, name))
    check_text(data, name)
    raise SpecError("this is neither XML nor JSON", where=name, try_this="JUnit, Cobertura, SARIF, in-toto or JSON")


def read(
    data: bytes, format: Format, clause: Clause | None, *, name: str = "report", clauses: Sequence[Clause] | None = None
) -> Found:
    """The figures in *data* that prove *clause*; plain JSON and Guideway's own statements name metrics themselves.

    *clauses* are those that hold here, by default the Standard's.

    Raises:
        SpecError: *data* is not whole and sound in *format*, or gives nothing that the clause, or any, may import.
    """
    _check_size(data, name)
    every = [clause] if clause else default_clauses() if clauses is None else clauses
    if format == "json":
        known = _importable(every, ("json",))
        return Found(plain.facts(data, name, known, _measured(every, known)))
    subjects: frozenset[str] = frozenset()
    if format == "in-toto":
        statement = intoto.opened(data, name)
        if statement.kind in intoto.OURS:
            return intoto.own(statement, name, _importable(every, ("json", "in-toto")))
        subjects = statement.subjects
    return Found(tuple(_fact(metric, number(data, name)) for metric, number in _asked(format, clause, name)), subjects)


def _asked(format: Format, clause: Clause | None, name: str) -> list[tuple[str, Callable[[bytes, str], Figure]]]:
    """The metrics of *clause* that a report in *format* gives, and how."""
    if clause is None:
        takers = [one.id for one in default_clauses() if _checks([one], (format,))]
        raise SpecError(
            f"a report in the format {format} does not say what it proves",
            where=name,
            try_this=f"--clause {' or '.join(takers)}",
        )
    checks = _checks([clause], (format,))
    if not checks:
        taken = sorted({one for check in clause.checks for one in check.formats})
        raise SpecError(
            f"{clause.id} takes no report in the format {format}",
            where=name,
            try_this=f"it takes {', '.join(taken)}" if taken else f"`{clause.command}` measures it",
        )
    for check in checks:
        if check.metric not in NUMBERS[format]:
            raise SpecError(
                f"no number of a report in the format {format} stands for '{check.metric}'",
                where=name,
                try_this="import it as plain JSON",
            )
    return [(check.metric, NUMBERS[format][check.metric]) for check in checks]


def _fact(metric: str, figure: Figure) -> Imported:
    return Imported(metric, float(figure.value), figure.unit, figure.n, at=figure.at, note=figure.note)


def _checks(clauses: Sequence[Clause], formats: Sequence[Format]) -> list[Check]:
    return [check for one in clauses for check in one.checks if set(check.formats) & set(formats)]


def _importable(clauses: Sequence[Clause], formats: Sequence[Format]) -> frozenset[str]:
    return frozenset(check.metric for check in _checks(clauses, formats))


def _measured(clauses: Sequence[Clause], importable: frozenset[str]) -> dict[str, str]:
    """Why the other metrics of *clauses* may not be imported: nobody says by hand what Guideway measures."""
    return {
        check.metric: f"'{check.metric}' is measured by `guideway {one.by}` and cannot be imported"
        for one in clauses
        for check in one.checks
        if check.metric not in importable
    }


def _check_size(data: bytes, name: str) -> None:
    if len(data) > LARGEST:
        raise SpecError(f"this report is larger than {LARGEST >> 20} MiB", where=name)


def _xml_format(tag: str, name: str) -> Format:
    if tag in junit.ROOTS:
        return "junit"
    if tag == cobertura.ROOT:
        return "cobertura"
    raise SpecError(f"<{one_line(tag)}> is neither JUnit nor Cobertura", where=name)


def _json_format(value: object) -> Format:
    if isinstance(value, dict):
        if "runs" in value:
            return "sarif"
        if "predicateType" in value or {"payload", "payloadType"} <= value.keys():
            return "in-toto"
    return "json"
