"""``guideway pause``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.project import by_option, environment_option, json_option, opened, spec_option
from guideway.cli.steered import steered
from guideway.fleet import steer
from guideway.store.database import Database


@click.command("pause")
@by_option
@spec_option
@environment_option
@json_option
def command(by: str, path: Path, environment: str, as_json: bool) -> None:
    """Hold the weight of the canary where it is.

    What speaks against the candidate still stops it. `guideway resume` goes on.
    """
    _, home = opened(path, environment)
    with Database(home.database) as database:
        rollout = steer.pause(database, environment, by=by, clock=time.time)
        steered(home, database, rollout, "holds its weight", as_json=as_json)
