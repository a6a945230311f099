"""``guideway releases``."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.tables import table
from guideway.core.artifact import short
from guideway.store import fleet, releases
from guideway.store.database import Database


@click.command("releases")
@spec_option
@environment_option
@json_option
def command(path: Path, environment: str, as_json: bool) -> None:
    """List the sealed releases, the newest first."""
    _, home = opened(path, environment)
    with Database(home.database) as database:
        found = releases.all_of(database)
        route = fleet.route(database, environment)
    stable = route.stable.release if route and route.stable else None
    if as_json:
        fields = ("digest", "name", "number", "created", "size")
        print_json([{name: getattr(one, name) for name in fields} | {"stable": one.digest == stable} for one in found])
        return
    rows = [
        (
            f"{one.name}:{one.number}",
            short(one.digest),
            f"{one.size / 1e6:.1f} MB",
            datetime.datetime.fromtimestamp(one.created).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            f"stable in {environment}" if one.digest == stable else "",
        )
        for one in found
    ]
    table(("RELEASE", "DIGEST", "SIZE", "SEALED", ""), rows, empty="no release yet; `guideway build` makes one")
