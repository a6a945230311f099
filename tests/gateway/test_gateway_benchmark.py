"""The arithmetic of the gateway's benchmark: ratios, slopes, and what the kernel tells of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import drills
from benchmarks.gateway import _figure
from benchmarks.record import Figure
from benchmarks.traffic.machine import below, processor_seconds, resident_bytes
from benchmarks.traffic.rows import median_ratio, slope


def test_a_ratio_is_the_median_of_the_rounds_and_one_disturbed_round_does_not_count():
    assert median_ratio([50, 5, 60], [100, 100, 100]) == 0.5


def test_rounds_that_do_not_pair_are_an_error():
    with pytest.raises(ValueError, match="zip"):
        median_ratio([1, 2], [1])


def test_a_slope_is_in_bytes_a_request():
    assert slope([(0, 1000), (100, 1200), (200, 1400)]) == pytest.approx(2.0)
    assert slope([(0, 7), (10, 7), (20, 7)]) == 0.0


def test_one_look_at_the_memory_has_no_slope():
    assert slope([(5, 100)]) == 0.0


@pytest.mark.parametrize("larger", [True, False])
@pytest.mark.parametrize("value", [0.5, 1.0, 2.0])
def test_a_row_that_was_written_is_read_with_the_same_verdict(value, larger):
    one = Figure("it", value, "ratio", must=1.0, larger=larger)
    row = {**one._asdict(), "ok": one.ok}
    del row["larger"]
    assert _figure(row).ok is one.ok


def test_the_processes_below_one_are_found_and_their_time_and_memory_read():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(below(os.getpid()))
        assert below(child.pid) == [child.pid]
        assert resident_bytes(os.getpid()) > 1_000_000
        assert processor_seconds([os.getpid()]) > 0
    finally:
        child.communicate()


def test_a_process_that_is_gone_took_no_time():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert processor_seconds([child.pid]) == 0.0


def test_a_drill_is_a_test_that_repeats_something_itself_or_by_a_function_of_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(drills, "ROOT", tmp_path)
    (tmp_path / "test_some.py").write_text(
        "def helper():\n    return drill(2, 30)\n"
        "@pytest.mark.catalogue('A1')\n@pytest.mark.catalogue('A2')\ndef test_one():\n    return drill(1, 20)\n"
        "def test_by_helper():\n    return helper()\n"
        "def test_small():\n    return other(1, 20)\n"
    )
    one, by_helper = drills.found(tmp_path)
    assert one == ("test_some.py::test_one", ("A1", "A2"), 20)
    assert by_helper == ("test_some.py::test_by_helper", (), 30)


def test_a_drill_that_is_run_again_replaces_its_row_and_rows_of_tests_that_are_gone_go(tmp_path, monkeypatch):
    monkeypatch.setattr(drills, "RESULTS", tmp_path / "drills.json")
    here = [drills.Drill("a", (), 1), drills.Drill("b", (), 1)]
    monkeypatch.setattr(drills, "found", lambda folder: [*here, drills.Drill("gone", (), 1)])
    for test, outcome in (("gone", "passed"), ("b", "failed"), ("a", "passed"), ("b", "passed")):
        drills.keep({"test": test, "outcome": outcome})
    monkeypatch.setattr(drills, "found", lambda folder: here)
    drills.keep({"test": "a", "outcome": "too long"})
    rows = json.loads((tmp_path / "drills.json").read_text())
    assert [(row["test"], row["outcome"]) for row in rows] == [("a", "too long"), ("b", "passed")]


def test_every_drill_that_was_run_has_a_row_that_says_how_it_went():
    rows = json.loads(drills.RESULTS.read_text(encoding="utf-8"))
    assert {row["outcome"] for row in rows} <= {"passed", "failed", "skipped", "too long"}
    assert all(row["times"] > 1 and row["seconds"] > 0 and row["date"] and row["machine"] for row in rows)
