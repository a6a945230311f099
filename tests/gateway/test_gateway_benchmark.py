"""The arithmetic of the gateway's benchmark: ratios, slopes, and what the kernel tells of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

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
