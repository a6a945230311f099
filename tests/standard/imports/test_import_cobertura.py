"""Cobertura: the rate, and the lines that it must agree with."""

from __future__ import annotations

import subprocess
import sys

import pytest
from import_rig import figure, refused

OLD = """<coverage line-rate="0.5" branch-rate="0" version="1.9" timestamp="1772359200">
  <packages><package name="p" line-rate="0.5"><classes><class name="C" filename="c.py" line-rate="0.5">
    <methods><method name="m"><lines><line number="1" hits="3"/></lines></method></methods>
    <lines><line number="1" hits="3"/><line number="2" hits="0"/></lines>
  </class></classes></package></packages>
</coverage>"""


def report(**attributes: object) -> str:
    said = {"line-rate": 0.9, "lines-covered": 90, "lines-valid": 100}
    said |= {key.replace("_", "-"): value for key, value in attributes.items()}
    return "<coverage " + " ".join(f'{key}="{value}"' for key, value in said.items() if value is not None) + "/>"


@pytest.mark.parametrize(
    ("text", "value", "n", "at"),
    [
        (report(), 0.9, 100, None),
        (report(line_rate=0.8571, lines_covered=6, lines_valid=7, timestamp=1772359200123), 6 / 7, 7, 1772359200.123),
        (report(line_rate=0, lines_covered=0), 0.0, 100, None),
        (OLD, 0.5, 2, 1772359200.0),
    ],
)
def test_the_share_of_covered_lines_is_read(text, value, n, at):
    found = figure(text, "TRN-05")
    assert (found.metric, found.value, found.n, found.at) == ("line_coverage", value, n, at)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (report(line_rate=0.95), "line-rate is 0.95, and 90 of 100 lines are covered: one of them is wrong"),
        (report(line_rate=90), "one of them is wrong"),
        (report(lines_covered=110, line_rate=1.1), "one of them is wrong"),
        (report(line_rate=None), "line-rate is '', not a number"),
        (report(line_rate="NaN"), "line-rate is 'NaN', not a number"),
        (report(lines_valid=-5), "lines-valid is '-5', not a number"),
        (report(lines_valid=0, lines_covered=0), "there is no line in this report"),
        ('<coverage line-rate="1"/>', "there is no line in this report"),
        (OLD.replace('hits="0"', 'hits="never"'), "report.txt:4: hits is 'never'"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(text, says):
    assert says in refused(text, "TRN-05")


def test_what_coverage_itself_writes_is_read(tmp_path):
    (tmp_path / "tiny.py").write_text("import sys\nif len(sys.argv) > 9:\n    print('never')\n    print('ever')\n")
    for argv in (["run", "--data-file=data", "tiny.py"], ["xml", "--data-file=data", "-o", "report.xml"]):
        subprocess.run(
            [sys.executable, "-m", "coverage", *argv], cwd=tmp_path, check=True, capture_output=True, timeout=60
        )
    found = figure((tmp_path / "report.xml").read_bytes(), "TRN-05")
    assert (found.value, found.n) == (0.5, 4)
    assert found.at is not None and found.at > 1.7e9
