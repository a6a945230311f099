"""``guideway gc``."""

from __future__ import annotations

import time
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.project import json_option, opened, spec_option
from guideway.core.artifact import Digest
from guideway.store import evidence, ledger, releases, steps, waivers
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.garbage import GRACE, Collected, collect


@click.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=GRACE / 60,
    show_default=True,
    metavar="MINUTES",
    help="How long a blob stays after it was condemned.",
)
@spec_option
@json_option
def command(dry_run: bool, grace: float, path: Path, as_json: bool) -> None:
    """Remove what no release and no kept result needs.

    The first call condemns such blobs; the first one after the grace takes them. What a build, a seal or a pull that
    is still running may be about to use stays, even if that command was stopped for hours.
    """
    _, home = opened(path, "dev")
    blobs = Blobs(home.oci)
    with Database(home.database) as database:

        def roots() -> set[Digest]:
            rooms = (steps, releases, evidence, waivers)
            return set().union(*(room.digests(database) for room in rooms))

        now = time.time()
        done = collect(blobs, roots, at=now, grace=grace * 60, dry_run=dry_run)
        if not dry_run:
            what = msgspec.to_builtins(done)
            ledger.append(database, at=now, who="command line", what="gc", subject="blobs", why=_told(done), data=what)
    if as_json:
        print_json({**msgspec.to_builtins(done), "dry_run": dry_run})
    else:
        click.echo(f"{'would be: ' if dry_run else ''}{_told(done)}")


def _told(done: Collected) -> str:
    """One line about a collection."""
    removed = f"{done.removed} blobs removed ({done.removed_bytes / 1e6:.1f} MB)"
    waiting = f"{done.waiting} condemned and waiting ({done.waiting_bytes / 1e6:.1f} MB)" if done.waiting else ""
    leftover = f"{done.leftover_bytes / 1e6:.1f} MB half-written" if done.leftover_bytes else ""
    return ", ".join(one for one in (removed, leftover, waiting, f"{done.needed} needed") if one)
