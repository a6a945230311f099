"""``guideway promote``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.project import by_option, environment_option, json_option, opened, spec_option
from guideway.cli.steered import steered
from guideway.fleet import steer
from guideway.store.database import Database


@click.command("promote")
@by_option
@spec_option
@environment_option
@json_option
def command(by: str, path: Path, environment: str, as_json: bool) -> None:
    """Give the candidate all traffic as soon as all of its replicas answer.

    What the canary has not shown yet is not waited for: a person answers for it, and the ledger says who.
    """
    _, home = opened(path, environment)
    with Database(home.database) as database:
        rollout = steer.promote(database, environment, by=by, clock=time.time)
        steered(home, database, rollout, "will have all traffic as soon as all of its replicas answer", as_json=as_json)
