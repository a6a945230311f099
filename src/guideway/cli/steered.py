"""What the verbs that steer a rollout say at their end."""

from __future__ import annotations

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.state import catch_up
from guideway.core.artifact import short
from guideway.core.rollout import Rollout
from guideway.fleet import orders
from guideway.store import releases
from guideway.store.database import Database
from guideway.store.home import Home


def steered(home: Home, database: Database, rollout: Rollout, said: str, *, as_json: bool) -> None:
    """Say what became of *rollout*, and see to it that somebody acts on it."""
    orders.ensure_controller(home)
    catch_up(database, home)
    if as_json:
        print_json(msgspec.to_builtins(rollout))
        return
    found = releases.by_digest(database, rollout.release)
    name = releases.label(found) if found else short(rollout.release)
    click.echo(f"rollout {rollout.id} to {name} {said}")
