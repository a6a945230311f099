"""What is wrong with a file that is no YAML, in plain words: where it begins, under which key, and what to do."""

from __future__ import annotations

import re

import yaml

from guideway.core.errors import SpecError

_KEY = re.compile(r"([\w.-]+)['\"]?\s*:[\s\[{]*$")
_INSIDE = re.compile(r"([\w.-]+)['\"]?\s*:\s")
_QUOTE = "put text that holds one of : , [ ] { } # between quotes"
_INDENT = "keys of one mapping, and entries of one list, begin in the same column"


def not_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> SpecError:
    """*error*, which reading *text* from *file* gave, as one that people see."""
    lines = text.splitlines() or [""]
    mark, begun = error.problem_mark or error.context_mark, error.context_mark
    problem, context = (error.problem or "").replace("\n", " "), error.context or ""
    if "while parsing a flow" in context and begun and mark:
        return _said(
            _in_one_line("{}" if "mapping" in context else "[]", begun, mark, lines), file, begun, lines, _QUOTE
        )
    if "unexpected end of stream" in problem and "quoted" in context:
        return _said("the quote that begins here does not end", file, begun, lines, None)
    if "unknown escape" in problem:
        return _said("between double quotes, \\ begins an escape, and this is none", file, mark, lines, "double the \\")
    if "mapping values are not allowed" in problem:
        keys = _INSIDE.findall(_row(lines, mark)[: mark.column]) if mark else []
        what = f"'{keys[-1]}' has a second ':' in its line" if keys else "this ':' comes after no key"
        return _said(what, file, mark, lines, f"{_QUOTE}, or begin a new line")
    if "cannot start any token" in problem:
        letter = _letter(lines, mark)
        if letter == "\t":
            return _said("a tab stands here", file, mark, lines, "indent with spaces")
        return _said(f"no text begins with {letter}", file, mark, lines, "put it between quotes")
    if "did not find expected" in problem or problem.startswith("expected <block end>"):
        return _said("this line does not fit to those above it", file, mark, lines, _INDENT)
    if "undefined alias" in problem:
        return _said("a '*' refers to something, and nothing is called so", file, mark, lines, "put it between quotes")
    return _said(problem or "it cannot be read", file, mark, lines, None)


def _said(what: str, file: str, mark: yaml.Mark | None, lines: list[str], advice: str | None) -> SpecError:
    """With the line of *mark*, and the key whose value stands there, if one stands before it in that line."""
    line = mark.line if mark else 0
    before = _row(lines, mark)[: mark.column] if mark else ""
    key = _KEY.search(before)
    return SpecError(f"not YAML: {f'{key[1]}: ' if key else ''}{what}", where=f"{file}:{line + 1}", try_this=advice)


def _in_one_line(brackets: str, begun: yaml.Mark, mark: yaml.Mark, lines: list[str]) -> str:
    """What is missing in a mapping or a list between *brackets*, which has *begun* and cannot go on at *mark*."""
    if begun.line >= len(lines):  # the reader marks a bracket in the last line behind the end of the file
        return "a bracket is opened, and the file ends"
    if begun.line != mark.line:  # often far behind: the next bracket or the end of the file
        return f"the '{brackets[0]}' that begins here misses its '{brackets[1]}', or a ',' before line {mark.line + 1}"
    keys = _INSIDE.findall(_row(lines, begun)[begun.column + 1 : mark.column])
    after = f"after the value of '{keys[-1]}'" if keys else f"behind the '{brackets[0]}'"
    return f"a ',' or '{brackets[1]}' is missing {after}"


def _letter(lines: list[str], mark: yaml.Mark | None) -> str:
    return _row(lines, mark)[mark.column : mark.column + 1] if mark else ""


def _row(lines: list[str], mark: yaml.Mark) -> str:
    """The line of *mark*; empty behind the last one, where the reader stands at the end of a file."""
    return lines[mark.line] if mark.line < len(lines) else ""
