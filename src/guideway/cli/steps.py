"""What is known of the steps of some work, and how a line says it. Nothing is drawn here."""

from __future__ import annotations

import time
from collections.abc import Callable

from guideway.cli.hints import addressed
from guideway.core.events import Event, Note, Progress, StepFailed, StepFinished, StepPlanned, StepStarted
from guideway.kit.printable import printable

_BAR = 24
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``2 m 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} m {int(seconds) % 60:02d} s"


class Line:
    """One step on the screen."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name, self.state, self.note, self.verdict = name, "waits", "", ""
        self.done, self.total = 0.0, 0.0
        self._clock, self.began = clock, clock()

    def mark(self) -> tuple[str, str]:
        """The sign of its state, and in which style it is drawn."""
        return {
            "waits": ("·", "dim"),
            "runs": (SPINNER[int(self._clock() * 10) % len(SPINNER)], "cyan"),
            "done": ("✓", "green"),
            "cached": ("=", "dim"),
            "failed": ("✗", "red"),
            "note": ("›", "blue"),
            "PASS": ("✓", "green"),
            "FAIL": ("✗", "red"),
            "UNKNOWN": ("?", "yellow"),
        }[self.verdict or self.state]

    def plain(self) -> str:
        """The line where nothing moves: neither spinner nor bar."""
        if self.state == "runs":
            pace = self._pace() if self.total else ""
            return printable(f" … {self.name:<10}{pace}{self.note}".rstrip())
        name = "" if self.state == "note" else f"{self.name:<10}"
        return printable(f" {self.mark()[0]} {name}{self.note}".rstrip())  # notes may hold words of others

    def bar(self) -> str:
        """How far it is, where something moves."""
        if not self.total:
            return f"{duration(self._clock() - self.began)}  {self.note}"
        full = int(min(self.done / self.total, 1.0) * _BAR)
        return f"{'━' * full}{'╌' * (_BAR - full)} {self._pace()}{self.note}"

    def _pace(self) -> str:
        share, spent = min(self.done / self.total, 1.0), self._clock() - self.began
        left = spent / share - spent if share > 0.01 else 0.0
        told = self.note.endswith(" left")  # a stage that goes on from a checkpoint knows its pace better
        ahead = f", {duration(left)} left" if left and not told else ""
        return f"{share:4.0%} {duration(spent)}{ahead}  "


class Steps:
    """All steps in order, changed by what is said of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.lines: dict[str, Line] = {}

    def changed(self, event: Event) -> Line | None:
        """The line that *event* is about, if any, changed as it says."""
        if isinstance(event, Note):
            line = self._line(f"note {len(self.lines)}", "")
            line.state, line.note = "note", addressed(event.text)
            line.verdict = event.data.get("verdict", "")
            return line
        if not isinstance(event, StepPlanned | StepStarted | Progress | StepFinished | StepFailed):
            return None
        line = self._line(event.step, event.step)
        if isinstance(event, StepStarted):
            line.state, line.began, line.note = "runs", self._clock(), event.why
        elif isinstance(event, Progress):
            line.state = "runs"
            line.done, line.total, line.note = event.done, event.total, event.note
        elif isinstance(event, StepFinished):
            line.state = "cached" if event.cached else "done"
            spent = "cached" if event.cached else duration(event.seconds)
            line.note = "  ".join([f"{spent:>8}", *event.facts])
        elif isinstance(event, StepFailed):
            line.state, line.note = "failed", event.what
        return line

    def _line(self, key: str, name: str) -> Line:
        return self.lines.setdefault(key, Line(name, self._clock))
