"""What this machine has, as the kernel and control groups say it."""

from __future__ import annotations

from guideway.kit.machine import UNLIMITED, group_limits, machine, memory_of, processors, speed

MEMINFO = "MemTotal:       24000 kB\nMemFree:         1000 kB\nMemAvailable:   20000 kB\nHugePages_Total:    0\n"


def test_memory_is_what_is_available_and_not_what_is_free():
    assert memory_of(MEMINFO) == (24000 * 1024, 20000 * 1024)


def test_a_control_group_limits_and_its_file_cache_can_be_taken_back(tmp_path):
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 200\nactive_file 100\ninactive_file 300\n")
    assert group_limits(tmp_path) == (1000, 300)


def test_a_control_group_without_a_limit_limits_nothing(tmp_path):
    assert group_limits(tmp_path) == (UNLIMITED, 0)
    (tmp_path / "memory.max").write_text("max\n")
    assert group_limits(tmp_path) == (UNLIMITED, 0)


def test_this_machine_has_memory_disk_and_speed(tmp_path):
    there = machine(tmp_path / "not" / "yet" / "there")
    assert 0 < there.memory_free <= there.memory
    assert there.disk_free > 0 and there.gpu >= 0
    assert processors() >= 1
    assert (speed() or 0) > 1e8
