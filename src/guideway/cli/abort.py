"""``guideway abort``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.project import by_option, environment_option, json_option, opened, spec_option
from guideway.cli.steered import steered
from guideway.fleet import steer
from guideway.store.database import Database


@click.command("abort")
@click.option("--why", default="", help="The reason, for the ledger.")
@by_option
@spec_option
@environment_option
@json_option
def command(*, why: str, by: str, path: Path, environment: str, as_json: bool) -> None:
    """End the rollout: all traffic goes back to the stable release at once.

    No controller is needed for it. Keys stay as they are; what people received meanwhile is not undone.
    """
    _, home = opened(path, environment)
    with Database(home.database) as database:
        rollout = steer.abort(home, database, environment, by=by, why=why, clock=time.time)
        steered(home, database, rollout, "is over: all traffic is with the stable release", as_json=as_json)
