"""Show what work says: a live tree on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
import msgspec

from guideway.cli.steps import Steps
from guideway.core.events import Event, Progress, StepPlanned

Emit = Callable[[Event], None]


def print_json(value: Any) -> None:
    """*value* as JSON on standard output."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, order="sorted")).decode())


@contextlib.contextmanager
def drawn(*, as_json: bool) -> Iterator[Emit]:
    """A function that takes events and shows them as they come."""
    if as_json:
        yield JsonLines().take
        return
    if not sys.stdout.isatty():
        yield PlainLines().take
        return
    from guideway.cli.live import live  # a terminal only: its libraries take a tenth of an unchanged build

    with live() as tree:
        yield tree.take


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
        self._steps, self._seldom = Steps(clock), _Seldom(10.0, clock, first=10.0)

    def take(self, event: Event) -> None:
        """Print *event*, or leave it out: what is only planned has nothing to say yet."""
        line = self._steps.changed(event)
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
