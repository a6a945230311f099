"""``guideway feedback``."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.state import writing
from guideway.cli.tables import table
from guideway.core.artifact import digest_bytes
from guideway.core.errors import SpecError
from guideway.core.feedback import Judgement
from guideway.gateway.lessons import Rights, lessons, prompts_of
from guideway.kit.files import naming
from guideway.store import feedback, ledger
from guideway.store.database import Database
from guideway.store.home import Home

_SHOWN = 40


@click.group("feedback")
def command() -> None:
    """List what clients say of answers, make rows to train on of it, and erase what a tenant said."""


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


@command.command("export")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file of rows.")
@click.option("--licence", required=True, help="What every row says it may be used under, such as CC-BY-4.0.")
@click.option("--consent", required=True, help="On what ground its writer agreed, such as 'terms of 2026, 4'.")
@click.option("--tenant", "tenants", multiple=True, help="Only what this tenant said; may be repeated.")
@click.option("--days", default=30, show_default=True, type=click.IntRange(min=1), help="That of the last DAYS days.")
@spec_option
@environment_option
def export(
    *, out: Path, licence: str, consent: str, tenants: tuple[str, ...], days: int, path: Path, environment: str
) -> None:
    """Write what users corrected as rows for the next build: prompt, right answer, licence and consent, masked."""
    file, home = opened(path, environment)
    rights = Rights(_named("--licence", licence), _named("--consent", consent))
    if not file.spec.gateway.telemetry.prompts:
        where = file.where("gateway", "telemetry", "prompts")
        advice = (
            "set gateway.telemetry.prompts: true, if law and users allow it; from then on prompts are logged, masked"
        )
        raise SpecError(f"prompts are not kept in '{environment}'", where=where, try_this=advice)
    now = time.time()
    with writing(home) as database:
        feedback.commit(database, home.environment(environment) / feedback.FOLDER)
        found = feedback.all_of(database, environment, since=now - days * 86_400)
        chosen = [one for one in found if not tenants or one.owner in tenants]
        prompts = prompts_of(_logged(home, environment), {one.request for one in chosen})
        made = lessons(chosen, prompts, file.spec.task, rights)
        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in made.rows)
        data = {"rows": len(made.rows), "licence": licence, "consent": consent, "file": digest_bytes(lines)}
        # No file is there that the ledger does not know, and no line is written that cannot come true.
        with naming(out, lines, mode=0o600):
            ledger.append(
                database, at=now, who="command line", what="feedback exported", subject=environment, data=data
            )
    left = ", ".join(f"{count} {why}" for why, count in sorted(made.left_out.items()))
    click.echo(f"{len(made.rows)} row{'' if len(made.rows) == 1 else 's'} in {out}{left and f'; left out: {left}'}")


def _logged(home: Home, environment: str) -> Iterator[bytes]:
    """The lines of the gateway's logs, the older file first."""
    for name in ("gateway.log.1", "gateway.log"):
        path = home.logs / environment / name
        if path.is_file():
            with path.open("rb") as lines:
                yield from lines


def _named(option: str, said: str) -> str:
    if not said.strip():
        raise SpecError(f"{option} says nothing", try_this="rows that nobody may use are no use")
    return said.strip()


def _words(one: Judgement) -> str:
    """The words in one line that a terminal cannot be tricked with."""
    text = " | ".join(text for text in (one.label, one.comment, one.correction) if text)
    shown = "".join(char if char.isprintable() else " " for char in text)
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
