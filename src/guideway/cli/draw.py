"""Draw what work says: a live tree on a terminal, plain lines elsewhere, JSON lines for machines; and tables."""

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

from guideway.cli.hints import addressed
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
    for line in table_lines(columns, rows, empty=empty):
        click.echo(line)


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Text]], *, empty: str) -> tuple[str, ...]:
    """The lines of such a table, styled where a terminal is."""
    if not rows:
        return (addressed(empty),)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return tuple(captured.get().splitlines())


@contextlib.contextmanager
def drawn(*, as_json: bool) -> Iterator[Emit]:
    """A function that takes events and shows them as they come."""
    if as_json:
        yield JsonLines().take
        return
    if not sys.stdout.isatty():
        yield PlainLines().take
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
        self._seldom = _Seldom(0.5)

    def take(self, event: Event) -> None:
        """Print *event*, or leave it out."""
        if self._seldom.lets(event):
            click.echo(msgspec.json.encode(event).decode())


class PlainLines:
    """Events as lines for people who read them in a file or a pipe; of progress one in ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._tree, self._seldom = Tree(clock), _Seldom(10.0, clock, first=10.0)

    def take(self, event: Event) -> None:
        """Print *event*, or leave it out: what is only planned has nothing to say yet."""
        line = self._tree.changed(event)
        if line and not isinstance(event, StepPlanned) and self._seldom.lets(event):
            click.echo(line.plain())


class _Seldom:
    """Lets progress pass once in so many seconds, *first* seconds from now at the earliest; everything else always."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic, first: float = 0.0) -> None:
        self._seconds, self._clock, self._next = seconds, clock, clock() + first

    def lets(self, event: Event) -> bool:
        """Is *event* to be shown?"""
        if not isinstance(event, Progress):
            return True
        due = (now := self._clock()) >= self._next
        self._next = now + self._seconds if due else self._next
        return due


class _Line:
    """One step on the screen."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name, self.state, self.note, self.verdict = name, "waits", "", ""
        self.done, self.total = 0.0, 0.0
        self._clock, self.began = clock, clock()

    def text(self) -> Text:
        mark, style = {
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
        steps = self.state != "note"
        line = Text(f" {mark} ", style=style, no_wrap=steps, overflow="ellipsis" if steps else None)
        if self.state != "note":
            line.append(f"{self.name:<10}", style="bold" if self.state == "runs" else "")
        line.append(self._bar() if self.state == "runs" else self.note, style="dim" if self.state == "cached" else "")
        return line

    def plain(self) -> str:
        """The same where nothing moves: neither spinner nor bar."""
        if self.state != "runs":
            return self.text().plain.rstrip()
        return f" … {self.name:<10}{self._pace() if self.total else ''}{self.note}".rstrip()

    def _bar(self) -> str:
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


class Tree:
    """All steps in order; asked for its picture at every refresh."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    def __rich__(self) -> Group:
        return Group(*(line.text() for line in self._lines.values()))

    def take(self, event: Event) -> None:
        """Change the picture as *event* says."""
        self.changed(event)

    def changed(self, event: Event) -> _Line | None:
        """The line that *event* is about, if any, changed as it says."""
        if isinstance(event, Note):
            line = self._line(f"note {len(self._lines)}", "")
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

    def _line(self, key: str, name: str) -> _Line:
        return self._lines.setdefault(key, _Line(name, self._clock))
