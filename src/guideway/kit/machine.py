"""What this machine has: memory, disk, processors' speed. Reads /proc and control groups; starts nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")
UNLIMITED = 1 << 60
"""Bytes; a control group that says more than this limits nothing."""


class Machine(NamedTuple):
    """Bytes of memory in all and to be had now, of disk to be had, of memory of the largest GPU (0: there is none)."""

    memory: int
    memory_free: int
    disk_free: int
    gpu: int = 0


def machine(folder: Path) -> Machine:
    """What there is for work whose files go to the disk of *folder*."""
    memory, free = memory_of(_MEMINFO.read_text(encoding="ascii"))
    limit, used = group_limits(_CGROUP)
    there = next(one for one in (folder, *folder.resolve().parents) if one.exists())
    return Machine(min(memory, limit), min(free, limit - used), shutil.disk_usage(there).free, largest_gpu())


def memory_of(text: str) -> tuple[int, int]:
    """All memory, and what is available, in bytes; *text* is that of /proc/meminfo."""
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines() if ":" in line}
    return kilobytes["MemTotal"] * 1024, kilobytes.get("MemAvailable", kilobytes["MemFree"]) * 1024


def group_limits(folder: Path) -> tuple[int, int]:
    """The memory that the control group of *folder* allows, and what of it is in use and cannot be taken back."""
    limit = _number(folder / "memory.max", UNLIMITED)
    if limit >= UNLIMITED:
        return UNLIMITED, 0
    used, files = _number(folder / "memory.current", 0), 0
    stat = folder / "memory.stat"
    if stat.exists():
        lines = (line.split() for line in stat.read_text(encoding="ascii").splitlines())
        files = sum(int(value) for name, value in lines if name in ("active_file", "inactive_file"))
    return limit, max(0, used - files)


def largest_gpu() -> int:
    """The memory of the largest GPU that the driver's own tool names, in bytes; 0: none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    asked = [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return max((int(line) for line in said.split() if line.isdigit()), default=0) * 2**20


def speed() -> float | None:
    """Multiplications and additions a second of this machine, all processors, float32; None without numpy."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        return None
    size = 768
    one = np.ones((size, size), dtype=np.float32)
    one @ one  # the first one pays for starting the threads
    began, times = time.process_time(), 0
    while time.process_time() - began < 0.1:  # of all threads together: others who work here do not count
        one @ one
        times += 1
    return 2.0 * size**3 * times / (time.process_time() - began) * processors()


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def _number(path: Path, otherwise: int) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return otherwise
    return int(text) if text.isdigit() else otherwise
