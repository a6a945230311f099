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
from guideway.cli.state import catch_up, writing
from guideway.core.artifact import Digest
from guideway.core.errors import SpecError
from guideway.core.events import Note, Progress, StepFinished
from guideway.core.release import Release
from guideway.sealing.arrive import judge_files, record
from guideway.sealing.registry import Access, Reference
from guideway.sealing.registry.credentials import checked, find
from guideway.sealing.transfers import Moved
from guideway.signing.keys import chosen_name, signer
from guideway.store import ledger, releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home

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


def arrived(home: Home, blobs: Blobs, digest: Digest, emit: Emit, *, verb: str, source: str) -> Release:
    """Give what *verb* brought from *source* its number, and scan it.

    What is found does not refuse it here: it is signed evidence, and the clauses of each environment decide.
    """
    with Database(home.database) as database:
        known = releases.by_digest(database, digest)
        found = record(blobs, database, digest, who="guideway", what=verb, source=source, at=time.time())
        if known is None:
            scan = judge_files(blobs, database, signer(home.keys, chosen_name()), found, at=time.time())
            if scan.findings:
                more = f" and {len(scan.findings) - 1} more" if len(scan.findings) > 1 else ""
                emit(Note(f"{scan.findings[0]}{more}; SEC-01 and SEC-04 will say so", {"findings": len(scan.findings)}))
        catch_up(database, home)
    return found


def remember(home: Home, digest: Digest, *, verb: str, place: str) -> None:
    """A line of the ledger for what left this store."""
    with writing(home) as database:
        ledger.append(database, at=time.time(), who="command line", what=verb, subject=digest, why=place)


def say(emit: Emit, verb: str, moved: Moved, began: float, text: str) -> None:
    """How much was moved, and *text*: what that means."""
    facts = f"{moved.moved} of {moved.moved + moved.there} blobs moved, {moved.size / 1e6:.1f} MB"
    emit(StepFinished(verb, time.monotonic() - began, not moved.moved, moved.digest, (facts,)))
    data = {"release": moved.digest, "moved": moved.moved, "there": moved.there, "bytes": moved.size}
    emit(Note(text, data))
