"""What the kernel tells: processor time and memory of processes, and how busy the machine is."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
LOOK_SECONDS = 0.25


class Quiet:
    """How much of the machine others take, looked at between the runs, when the benchmark itself does nothing."""

    def __init__(self) -> None:
        self.shares: list[float] = []

    def look(self) -> None:
        """Add one look of a quarter of a second."""
        before = _busy()
        time.sleep(LOOK_SECONDS)
        after = _busy()
        self.shares.append((after[0] - before[0]) / max(1, after[1] - before[1]))

    def __str__(self) -> str:
        if not self.shares:
            return "not looked at"
        middle, most = statistics.median(self.shares), max(self.shares)
        looks = f"median of {len(self.shares)} looks, at most {most:.0%}"
        return f"others took {middle:.0%} of {os.cpu_count()} processors ({looks})"


def processor_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far, all threads."""
    return sum(float(fields[11]) + float(fields[12]) for fields in map(_stat, pids) if fields) / TICKS


def resident_bytes(pid: int) -> int:
    """The resident set of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE


def below(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for one in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        if fields := _stat(one):
            children.setdefault(int(fields[1]), []).append(one)
    found = [pid]
    for one in found:
        found += children.get(one, ())
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _busy() -> tuple[int, int]:
    """Busy and all ticks of the machine so far."""
    fields = [int(one) for one in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)
