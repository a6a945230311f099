"""``guideway audit``."""

from __future__ import annotations

import datetime
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import print_json, table
from guideway.cli.project import json_option, opened, spec_option
from guideway.core.artifact import short
from guideway.store import ledger
from guideway.store.database import Database


@click.command("audit")
@click.option("-n", "limit", default=20, show_default=True, help="How many lines, the newest first.")
@click.option("--verify", "check", is_flag=True, help="Recompute the chain of hashes instead.")
@spec_option
@json_option
def command(limit: int, check: bool, path: Path, as_json: bool) -> None:
    """Show the ledger: who did what to which digest, and why."""
    _, home = opened(path, "dev")
    with Database(home.database) as database:
        if check:
            click.echo(f"{ledger.verify(database)} lines, chain whole")
            return
        lines = list(ledger.entries(database, limit=limit, newest_first=True))
    if as_json:
        print_json([msgspec.to_builtins(line) for line in lines])
        return
    rows = [
        (
            str(line.seq),
            datetime.datetime.fromtimestamp(line.at).astimezone().strftime("%m-%d %H:%M:%S"),
            line.who,
            line.what,
            short(line.subject) if line.subject.startswith("sha256:") else line.subject,
            line.why,
        )
        for line in lines
    ]
    table(("#", "AT", "WHO", "WHAT", "SUBJECT", "WHY"), rows, empty="the ledger is empty")
