"""``guideway rollback``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import Emit, drawn
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.state import catch_up
from guideway.core.artifact import Digest
from guideway.core.errors import Refused
from guideway.core.events import Note
from guideway.core.rollout import Rollout
from guideway.fleet import orders
from guideway.store import releases
from guideway.store.database import Database
from guideway.store.home import Home


@click.command("rollback")
@click.option("--to", "release", help="Go to this release instead of the one before.", metavar="RELEASE")
@spec_option
@environment_option
@json_option
def command(release: str | None, path: Path, environment: str, as_json: bool) -> None:
    """Give all traffic back to the release that served before.

    While that release is still warm, this takes effect at once and needs no controller. Keys stay as they are;
    what people wrote or received meanwhile is not undone.
    """
    file, home = opened(path, environment)
    began = time.monotonic()
    with Database(home.database) as database, drawn(as_json=as_json) as emit:
        target = _target(database, release, environment) if release else None
        rollout = orders.rollback(home, database, file.spec, environment, clock=time.time, to=target)
        if not rollout.phase.final:
            rollout = _followed(home, rollout, emit)
        catch_up(database, home)
        found = releases.by_digest(database, rollout.release)
        name = releases.label(found) if found else rollout.release
        spent = time.monotonic() - began
        emit(Note(f"{name} serves in '{environment}' again, after {spent * 1000:.0f} ms", {"release": rollout.release}))


def _followed(home: Home, rollout: Rollout, emit: Emit) -> Rollout:
    """Wait for *rollout*. What that takes is loaded only here: whoever has the release warm is in a hurry."""
    from guideway.cli.ship import follow
    from guideway.pipeline.workshop import open_workshop

    emit(Note("that release is no longer warm: starting it"))
    orders.ensure_controller(home)
    return follow(open_workshop(home), rollout, emit)


def _target(database: Database, text: str, environment: str) -> Digest:
    """A release to go back to: one that was admitted there before, since a rollback judges nothing anew."""
    found = releases.find(database, text)
    if releases.admission(database, found.digest, environment) is None:
        raise Refused(
            f"this release was never admitted into '{environment}'",
            where=releases.label(found),
            try_this=f"`guideway ship {found.number} -e {environment}` judges it first",
        )
    return found.digest
