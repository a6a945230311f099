"""``guideway rollback``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import Emit, drawn
from guideway.cli.project import by_option, environment_option, json_option, opened, spec_option
from guideway.cli.state import catch_up
from guideway.core.artifact import Digest
from guideway.core.errors import Refused
from guideway.core.events import Note
from guideway.core.rollout import Phase, Rollout
from guideway.fleet import orders, steer
from guideway.store import fleet, releases
from guideway.store.database import Database
from guideway.store.home import Home


@click.command("rollback")
@click.option("--to", "release", help="Go to this release instead of the one before.", metavar="RELEASE")
@click.option("--why", default="", help="The reason, for the ledger.")
@by_option
@spec_option
@environment_option
@json_option
def command(*, release: str | None, why: str, by: str, path: Path, environment: str, as_json: bool) -> None:
    """Give all traffic back to the release that served before.

    While that release is still warm, this takes effect at once and needs no controller. Keys stay as they are;
    what people wrote or received meanwhile is not undone. While a candidate has a share of the traffic, this takes
    it away again, as `guideway abort` does.
    """
    file, home = opened(path, environment)
    began = time.monotonic()
    with Database(home.database) as database, drawn(as_json=as_json) as emit:
        target = _target(database, release, environment) if release else None
        if target is None and _tries(database, environment):
            rollout = steer.abort(home, database, environment, by=by, why=why, clock=time.time)
            serves = rollout.previous or rollout.release
            emit(Note(f"rollout {rollout.id} of {_name(database, rollout.release)} is over"))
        else:
            rollout = orders.rollback(
                home, database, file.spec, environment, clock=time.time, to=target, by=by, why=why
            )
            if not rollout.phase.final:
                rollout = _followed(home, rollout, emit)
            serves = rollout.release
        catch_up(database, home)
        spent = time.monotonic() - began
        said = f"{_name(database, serves)} serves in '{environment}' again, after {spent * 1000:.0f} ms"
        emit(Note(said, {"release": serves}))


def _tries(database: Database, environment: str) -> bool:
    """Is a candidate under way that has not taken over?"""
    route = fleet.route(database, environment)
    stable = route.stable.release if route and route.stable else None
    running = fleet.rollouts(database, environment, running=True, limit=1)
    return any(one.kind == "ship" and stable is not None and one.release != stable for one in running)


def _name(database: Database, digest: Digest) -> str:
    found = releases.by_digest(database, digest)
    return releases.label(found) if found else digest


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
    held = fleet.rollouts(database, environment, phase=Phase.DONE)
    if not any(found.digest in (one.release, one.previous) for one in held):
        raise Refused(
            f"this release never had all traffic in '{environment}'",
            where=releases.label(found),
            try_this=f"`guideway ship {found.number} -e {environment}` moves there with care",
        )
    return found.digest
