"""What work says while it runs. People read these as lines, which a terminal draws; a machine, as JSON lines."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    """Base of all events; ``event`` in the JSON names the kind."""


class StepPlanned(Event, frozen=True, tag="planned"):
    """A step is in the plan; ``why`` says why it will run, or that it is cached."""

    step: str
    runs: bool
    why: str


class StepStarted(Event, frozen=True, tag="started"):
    """A step began in a process of its own."""

    step: str
    why: str


class Progress(Event, frozen=True, tag="progress"):
    """``done`` of ``total`` (same unit); ``note`` is a short figure such as ``loss 0.41``."""

    step: str
    done: float
    total: float
    note: str = ""


class StepFinished(Event, frozen=True, tag="finished"):
    """A step is done and its result is kept. ``facts`` are the figures worth a line."""

    step: str
    seconds: float
    cached: bool
    digest: str
    facts: tuple[str, ...] = ()


class StepFailed(Event, frozen=True, tag="failed"):
    """A step failed; ``log`` is the file with everything it said."""

    step: str
    what: str
    log: str


class Note(Event, frozen=True, tag="note"):
    """One line about something that people should know; ``data`` is for machines."""

    text: str
    data: dict[str, Any] = {}
