"""``guideway feedback``."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import print_json, table
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.state import writing
from guideway.core.errors import SpecError
from guideway.core.feedback import Judgement
from guideway.store import feedback
from guideway.store.database import Database

_SHOWN = 40


@click.group("feedback")
def command() -> None:
    """List what clients say of answers, and erase what a tenant said."""


@command.command("list")
@click.option("--days", default=0, type=click.IntRange(min=0), help="Only that of the last DAYS days; 0: all.")
@click.option("--limit", default=0, type=click.IntRange(min=0), help="How many at most; 0: all.")
@spec_option
@environment_option
@json_option
def list_(days: int, limit: int, path: Path, environment: str, as_json: bool) -> None:
    """List the judgements of an environment, the newest first; as JSON they can be trained on."""
    _, home = opened(path, environment)
    since = time.time() - days * 86_400 if days else 0.0
    with Database(home.database) as database:
        feedback.commit(database, home.environment(environment) / feedback.FOLDER)
        found = feedback.all_of(database, environment, since=since, limit=limit or -1)
    if as_json:
        print_json([msgspec.to_builtins(one) for one in found])
        return
    rows = [(_time(one.at), one.owner, one.release, one.thumb or "", _words(one)) for one in found]
    table(("WHEN", "TENANT", "RELEASE", "THUMB", "WORDS"), rows, empty="nobody has said anything yet")


@command.command("erase")
@click.option(
    "--tenant", required=True, help="Whose judgements, as the list shows it: a tenant, or key:ID for a key without one."
)
@spec_option
@environment_option
def erase(tenant: str, path: Path, environment: str) -> None:
    """Delete all that a tenant said, in every environment."""
    _, home = opened(path, environment)
    folders = sorted((home.run / "env").glob(f"*/{feedback.FOLDER}"))
    with writing(home) as database:
        gone = feedback.erase(database, tenant, at=time.time(), who="command line", folders=folders)
    if not gone:
        raise SpecError(
            f"'{tenant}' said nothing", try_this="`guideway feedback list` shows who did; key:ID without a tenant"
        )
    click.echo(f"{gone} judgement{'' if gone == 1 else 's'} erased")


def _words(one: Judgement) -> str:
    """The words in one line that a terminal cannot be tricked with."""
    text = " | ".join(text for text in (one.label, one.comment, one.correction) if text)
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
