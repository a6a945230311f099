"""``guideway resume``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.project import by_option, environment_option, json_option, opened, spec_option
from guideway.cli.steered import steered
from guideway.fleet import steer
from guideway.store.database import Database


@click.command("resume")
@by_option
@spec_option
@environment_option
@json_option
def command(by: str, path: Path, environment: str, as_json: bool) -> None:
    """Go on with a canary that was paused."""
    _, home = opened(path, environment)
    with Database(home.database) as database:
        rollout = steer.pause(database, environment, by=by, clock=time.time, resume=True)
        steered(home, database, rollout, "goes on", as_json=as_json)
