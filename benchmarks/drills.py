"""Run the tests that have a large form in that form, one after the other. `make drills` calls it.

A test has a large form where it, or a function of its file, calls `drill(SMALL, LARGE)`. What came of it goes into
`results/drills.json` at once, one row for each test; a run of some tests leaves the rows of the others alone.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "drills.json"
SECONDS = 3600


class Drill(NamedTuple):
    """A test with a large form: its node, the cases of the catalogue that it covers, how many times it repeats."""

    test: str
    catalogue: tuple[str, ...]
    times: int


def main() -> int:
    """Run what was asked for; 1: something failed."""
    asked = _asked()
    drills = [one for one in found(ROOT / "tests") if not asked.only or any(word in one.test for word in asked.only)]
    failed = 0
    for number, one in enumerate(drills, 1):
        print(f"{number} of {len(drills)}: {one.test}", flush=True)
        row = run(one, asked.seconds)
        keep(row)
        print(f"  {row['outcome']} in {row['seconds']:.0f} s, {one.times:,} times", flush=True)
        failed += row["outcome"] != "passed"
    return int(failed > 0)


def found(folder: Path) -> list[Drill]:
    """All tests below *folder* that have a large form."""
    return [one for path in sorted(folder.rglob("test_*.py")) for one in _in_file(path)]


def _in_file(path: Path) -> Iterator[Drill]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    for name, function in functions.items():
        times = [*_larges(function)]
        times += [large for called in _calls(function) if called in functions for large in _larges(functions[called])]
        if times and name.startswith("test_"):
            yield Drill(f"{path.relative_to(ROOT)}::{name}", tuple(_cases(function)), max(times))


def _calls(function: ast.FunctionDef) -> set[str]:
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return {call.id for call in calls if isinstance(call, ast.Name)}


def _larges(function: ast.FunctionDef) -> Iterator[int]:
    """The second argument of every ``drill(SMALL, LARGE)``."""
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "drill":
            yield int(ast.literal_eval(node.args[1]))


def _cases(function: ast.FunctionDef) -> Iterator[str]:
    """What ``@pytest.mark.catalogue(CASE)`` names."""
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "catalogue":
            yield str(ast.literal_eval(mark.args[0]))


def run(one: Drill, seconds: float) -> dict[str, Any]:
    """The row of *one*, run now, alone."""
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", one.test]
    began, day = time.monotonic(), time.strftime("%Y-%m-%d", time.gmtime())
    env = {**os.environ, "GUIDEWAY_DRILLS": "1"}
    try:
        done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=seconds)
        outcome = _outcome(done.returncode, done.stdout)
        said = done.stdout
    except subprocess.TimeoutExpired as late:
        outcome, said = "too long", str(late.stdout or "")
    why = [line for line in said.splitlines() if line.startswith("E  ")][:2] if outcome != "passed" else []
    spent = round(time.monotonic() - began, 1)
    return {**one._asdict(), "outcome": outcome, "seconds": spent, "date": day, "machine": machine(), "why": why}


def _outcome(code: int, said: str) -> str:
    if code == 0:
        return "skipped" if " passed" not in said else "passed"
    return "failed"


def machine() -> str:
    """Processors and memory, in words."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{os.cpu_count()} processors, {pages / 2**30:.0f} GB, Python {sys.version.split()[0]}"


def keep(row: dict[str, Any]) -> None:
    """Put *row* in the place of the one of the same test; rows of tests that are gone go too."""
    rows = {one["test"]: one for one in json.loads(RESULTS.read_text(encoding="utf-8"))} if RESULTS.exists() else {}
    rows[row["test"]] = row
    there = [one.test for one in found(ROOT / "tests")]
    kept = [rows[test] for test in there if test in rows]
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], help="words of the names of tests; the others are left out")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the longest that one test may take")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
