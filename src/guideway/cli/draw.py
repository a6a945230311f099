"""Draw what work says: a live tree on a terminal, JSON lines elsewhere; and tables."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from guideway.core.events import Event, Note, Progress, StepFailed, StepFinished, StepPlanned, StepStarted

Emit = Callable[[Event], None]

_BAR = 24
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def print_json(value: Any) -> None:
    """*value* as JSON on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, order="sorted")).decode())


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A plain table; *empty* is said when there are no rows."""
    styled_table(columns, [[Text(cell) for cell in row] for row in rows], empty=empty)


def styled_table(columns: Sequence[str], rows: Sequence[Sequence[Text]], *, empty: str) -> None:
    """The same, with cells that bring their own style: never markup, since people named what stands in them."""
    if not rows:
        click.echo(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    Console(soft_wrap=not sys.stdout.isatty(), highlight=False).print(drawn)


@contextlib.contextmanager
def drawn(*, as_json: bool) -> Iterator[Emit]:
    """A function that takes events and shows them as they come."""
    if as_json or not sys.stdout.isatty():
        yield JsonLines().take
        return
    tree = Tree()
    with Live(tree, console=Console(highlight=False), refresh_per_second=12):
        yield tree.take


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``2 m 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} m {int(seconds) % 60:02d} s"


class JsonLines:
    """Events as JSON lines; of progress no more than two lines a second."""

    def __init__(self) -> None:
        self._next_progress = 0.0

    def take(self, event: Event) -> None:
        """Print *event*, or leave it out."""
        now = time.monotonic()
        if isinstance(event, Progress):
            if now < self._next_progress:
                return
            self._next_progress = now + 0.5
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
        sys.stdout.flush()


class _Line:
    """One step on the screen."""

    def __init__(self, name: str) -> None:
        self.name, self.state, self.note, self.verdict = name, "waits", "", ""
        self.done, self.total = 0.0, 0.0
        self.began = time.monotonic()

    def text(self) -> Text:
        mark, style = {
            "waits": ("·", "dim"),
            "runs": (SPINNER[int(time.monotonic() * 10) % len(SPINNER)], "cyan"),
            "done": ("✓", "green"),
            "cached": ("=", "dim"),
            "failed": ("✗", "red"),
            "note": ("›", "blue"),
            "PASS": ("✓", "green"),
            "FAIL": ("✗", "red"),
            "UNKNOWN": ("?", "yellow"),
        }[self.verdict or self.state]
        steps = self.state != "note"
        line = Text(f" {mark} ", style=style, no_wrap=steps, overflow="ellipsis" if steps else None)
        if self.state != "note":
            line.append(f"{self.name:<10}", style="bold" if self.state == "runs" else "")
        line.append(self._bar() if self.state == "runs" else self.note, style="dim" if self.state == "cached" else "")
        return line

    def _bar(self) -> str:
        spent = time.monotonic() - self.began
        if not self.total:
            return f"{duration(spent)}  {self.note}"
        share = min(self.done / self.total, 1.0)
        full = int(share * _BAR)
        left = spent / share - spent if share > 0.01 else 0.0
        told = self.note.endswith(" left")  # a stage that goes on from a checkpoint knows its pace better
        ahead = f", {duration(left)} left" if left and not told else ""
        return f"{'━' * full}{'╌' * (_BAR - full)} {share:4.0%} {duration(spent)}{ahead}  {self.note}"


class Tree:
    """All steps in order; asked for its picture at every refresh."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def __rich__(self) -> Group:
        return Group(*(line.text() for line in self._lines.values()))

    def take(self, event: Event) -> None:
        """Change the picture as *event* says."""
        if isinstance(event, Note):
            line = self._lines.setdefault(f"note {len(self._lines)}", _Line(""))
            line.state, line.note = "note", event.text
            line.verdict = event.data.get("verdict", "")
            return
        if not isinstance(event, StepPlanned | StepStarted | Progress | StepFinished | StepFailed):
            return
        line = self._lines.setdefault(event.step, _Line(event.step))
        if isinstance(event, StepStarted):
            line.state, line.began, line.note = "runs", time.monotonic(), event.why
        elif isinstance(event, Progress):
            line.state = "runs"
            line.done, line.total, line.note = event.done, event.total, event.note
        elif isinstance(event, StepFinished):
            line.state = "cached" if event.cached else "done"
            spent = "cached" if event.cached else duration(event.seconds)
            line.note = "  ".join([f"{spent:>8}", *event.facts])
        elif isinstance(event, StepFailed):
            line.state, line.note = "failed", event.what
