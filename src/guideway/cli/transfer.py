"""What the verbs that move releases share: how a registry is reached, progress, and the last line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from guideway.cli.draw import Emit
from guideway.core.errors import SpecError
from guideway.core.events import Note, Progress, StepFinished
from guideway.sealing.registry import Access, Reference
from guideway.sealing.registry.credentials import checked, find
from guideway.sealing.transfers import Moved

Command = TypeVar("Command", bound=Callable[..., Any])
_PASSWORD_LIMIT = 64 << 10


def registry_options(command: Command) -> Command:
    """How a registry is reached: ``--username``, ``--password-stdin``, ``--ca``, ``--insecure``."""
    options = (
        click.option("--username", metavar="NAME", help="The user name for the registry."),
        click.option("--password-stdin", is_flag=True, help="Read the password from standard input."),
        click.option(
            "--ca",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Trust the certificates of the authorities in this PEM file, and no others.",
        ),
        click.option("--insecure", is_flag=True, help="Allow plain HTTP to a registry that is not on this machine."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def access(reference: Reference, username: str | None, password_stdin: bool, ca: Path | None, insecure: bool) -> Access:
    """How *reference* is reached; credentials not given come from the environment or docker's configuration.

    Raises:
        SpecError: a name without a password, or the other way round.
    """
    if bool(username) != password_stdin:
        raise SpecError("--username and --password-stdin are only used together")
    if username:
        password = sys.stdin.read(_PASSWORD_LIMIT).removesuffix("\n").removesuffix("\r")
        return Access(checked(username, password, where="--username, --password-stdin"), ca, insecure)
    return Access(find(reference.host, os.environ), ca, insecure)


def megabytes(emit: Emit, verb: str) -> Callable[[int, int], None]:
    """Draws bytes done and bytes in all."""
    return lambda done, total: emit(Progress(verb, done / 1e6, total / 1e6, "MB"))


def say(emit: Emit, verb: str, moved: Moved, began: float, text: str) -> None:
    """How much was moved, and *text*: what that means."""
    facts = f"{moved.moved} of {moved.moved + moved.there} blobs moved, {moved.size / 1e6:.1f} MB"
    emit(StepFinished(verb, time.monotonic() - began, not moved.moved, moved.digest, (facts,)))
    data = {"release": moved.digest, "moved": moved.moved, "there": moved.there, "bytes": moved.size}
    emit(Note(text, data))
