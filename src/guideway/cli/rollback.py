"""``guideway rollback``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.ship import follow
from guideway.cli.state import catch_up
from guideway.core.artifact import Digest
from guideway.core.errors import Refused
from guideway.core.events import Note
from guideway.fleet import orders
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.store import releases


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
    shop = open_workshop(home)
    began = time.monotonic()
    target = _target(shop, release, environment) if release else None
    with drawn(as_json=as_json) as emit:
        rollout = orders.rollback(home, shop.database, file.spec, environment, clock=shop.clock, to=target)
        if not rollout.phase.final:
            emit(Note("that release is no longer warm: starting it"))
            orders.ensure_controller(home)
            rollout = follow(shop, rollout, emit)
        catch_up(shop.database, home)
        found = releases.by_digest(shop.database, rollout.release)
        name = releases.label(found) if found else rollout.release
        spent = time.monotonic() - began
        emit(Note(f"{name} serves in '{environment}' again, after {spent * 1000:.0f} ms", {"release": rollout.release}))


def _target(shop: Workshop, text: str, environment: str) -> Digest:
    """A release to go back to: one that was admitted there before, since a rollback judges nothing anew."""
    found = releases.find(shop.database, text)
    if releases.admission(shop.database, found.digest, environment) is None:
        raise Refused(
            f"this release was never admitted into '{environment}'",
            where=releases.label(found),
            try_this=f"`guideway ship {found.number} -e {environment}` judges it first",
        )
    return found.digest
