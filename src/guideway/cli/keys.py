"""``guideway keys``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from guideway.cli.draw import print_json, table
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.state import writing
from guideway.fleet import orders
from guideway.store import api_keys
from guideway.store.database import Database


@click.group("keys")
def command() -> None:
    """Make, list and revoke the keys that clients call with."""


@command.command("new")
@click.option("--label", default="", help="Whose key it is.")
@spec_option
@environment_option
@json_option
def new(label: str, path: Path, environment: str, as_json: bool) -> None:
    """Make a key. It is shown once; only a peppered digest is kept."""
    _, home = opened(path, environment)
    with writing(home) as database:
        key = orders.make_key(home, database, environment, label, clock=time.time)
    if as_json:
        print_json({"key": key, "label": label})
    else:
        click.echo(key)


@command.command("list")
@spec_option
@environment_option
@json_option
def list_(path: Path, environment: str, as_json: bool) -> None:
    """List the keys of an environment."""
    _, home = opened(path, environment)
    with Database(home.database) as database:
        found = api_keys.all_of(database, environment)
    if as_json:
        print_json([{"id": key.id, "label": key.label, "revoked": key.revoked} for key in found])
        return
    rows = [(key.id, key.label, "revoked" if key.revoked else "") for key in found]
    table(("ID", "LABEL", ""), rows, empty="no key yet; `guideway keys new` makes one")


@command.command("revoke")
@click.argument("id")
@spec_option
@environment_option
def revoke(id: str, path: Path, environment: str) -> None:
    """Make the key ID worthless."""
    _, home = opened(path, environment)
    with writing(home) as database:
        orders.revoke_key(home, database, environment, id, clock=time.time)
    click.echo(f"key {id} is revoked")
