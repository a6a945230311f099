"""``guideway down``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.hints import addressed
from guideway.cli.project import environment_option, spec_option, state_of
from guideway.cli.state import writing
from guideway.core.errors import GuidewayError
from guideway.fleet import orders
from guideway.fleet.look import look

PATIENCE = 30.0
"""Seconds until a process that will not stop is reported."""


@click.command("down")
@spec_option
@environment_option
def command(path: Path, environment: str) -> None:
    """Stop gateway, replicas and controller of an environment. Releases, keys and state stay."""
    home, _ = state_of(path, environment)
    deadline = time.monotonic() + PATIENCE
    with writing(home) as database:
        orders.down(database, environment, clock=time.time)
        orders.ensure_controller(home)
        while (found := look(home, database, environment)).alive or found.gateway:
            if time.monotonic() > deadline:
                raise GuidewayError("something does not stop", where=environment, try_this="`guideway status`")
            time.sleep(0.05)
    click.echo(addressed(f"'{environment}' is down; `guideway up` starts it again"))
