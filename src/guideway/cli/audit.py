"""``guideway audit``."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import click
import msgspec

from guideway import __version__
from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.tables import table
from guideway.core.artifact import short
from guideway.core.dossier import organisation_subject
from guideway.core.errors import Corrupt, SpecError
from guideway.core.evidence import Evidence, Producer, Subject
from guideway.core.spec import SpecFile
from guideway.fleet.judge import again
from guideway.pipeline.workshop import open_workshop
from guideway.sealing.attest import attest
from guideway.signing.keys import signer, trusted
from guideway.store import checkpoints, ledger, ledger_file
from guideway.store.checkpoints import Report
from guideway.store.database import Database
from guideway.store.home import Home

SHOWN = 20
"""Problems that are listed one by one."""


@click.group("audit", invoke_without_command=True)
@spec_option
@environment_option
@json_option
@click.pass_context
def command(ctx: click.Context, path: Path, environment: str, as_json: bool) -> None:
    """Show, verify, export or seal the ledger: who did what to which digest, and why."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(log, limit=20, what=None, subject=None, path=path, environment=environment, as_json=as_json)


@command.command("log")
@click.option("-n", "limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many lines.")
@click.option("--what", help="Only lines that say this: seal, admit, 'key made'.")
@click.option("--subject", help="Only lines about this: a digest, its first digits, an environment.")
@spec_option
@environment_option
@json_option
def log(*, limit: int, what: str | None, subject: str | None, path: Path, environment: str, as_json: bool) -> None:
    """Show the lines of the ledger, the newest first."""
    _, home = opened(path, environment)
    with Database(home.database) as database:
        lines = list(ledger.entries(database, limit=limit, newest_first=True, what=what, subject=subject))
    if as_json:
        print_json([msgspec.to_builtins(line) for line in lines])
        return
    rows = [
        (
            str(line.seq),
            datetime.datetime.fromtimestamp(line.at).astimezone().strftime("%m-%d %H:%M:%S"),
            f"{line.who} ({line.data['user']})" if "user" in line.data else line.who,
            line.what,
            short(line.subject) if line.subject.startswith("sha256:") else line.subject,
            _cut(line.why),
        )
        for line in lines
    ]
    empty = "no such line" if what or subject else "the ledger is empty"
    table(("#", "AT", "WHO", "WHAT", "SUBJECT", "WHY"), rows, empty=empty)


@command.command("verify")
@click.argument("exported", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option("--keys", type=click.Path(path_type=Path), help="Trust the public keys (*.pub.pem) in this folder.")
@click.option("--record", is_flag=True, help="Keep the result as signed evidence for clause OPS-02.")
@spec_option
@environment_option
@json_option
def verify(
    *, exported: Path | None, keys: Path | None, record: bool, path: Path, environment: str, as_json: bool
) -> None:
    """Recompute every hash and compare every signed checkpoint; each problem is named. Exit code 4 if there is one.

    With FILE, an exported ledger, and --keys this needs neither a project nor a database.
    """
    home = None if exported and keys else opened(path, environment)[1]
    trust = trusted(keys) if keys else trusted(home.keys) if home else {}
    if exported:
        if not exported.is_file():
            raise SpecError("there is no such file", where=str(exported))
        report = ledger_file.verify(exported, trust)
    else:
        assert home
        with Database(home.database) as database:
            report = checkpoints.verify(database, checkpoints.folders(home), trust)
        if record:
            _record(*opened(path, environment), report)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        _show(report)
    if report.problems:
        more = f"; {len(report.problems) - 1} more" if len(report.problems) > 1 else ""
        raise Corrupt(f"{report.problems[0].what}{more}", where=str(exported or "ledger"))


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@spec_option
@environment_option
def export(file: Path, path: Path, environment: str) -> None:
    """Write the whole ledger with its checkpoints to FILE, as JSON lines that anybody can verify offline."""
    _, home = opened(path, environment)
    with Database(home.database) as database:
        count = ledger_file.export(database, checkpoints.folders(home), file)
    click.echo(f"{count} lines in {file}; verify them with the public keys in {home.keys}")


@command.command("checkpoint")
@spec_option
@environment_option
@json_option
def checkpoint(path: Path, environment: str, as_json: bool) -> None:
    """Sign the ledger as it stands now, and keep that outside the database.

    With GUIDEWAY_CHECKPOINTS=FOLDER every checkpoint is copied there too: to another disk, best of all.
    """
    _, home = opened(path, environment)
    by, now = signer(home.keys), time.time()
    with Database(home.database) as database:
        subject = ledger.installation(database)
        ledger.append(database, at=now, who=by.name, what="checkpoint", subject=subject, why="asked for")
        made = checkpoints.make(database, home, by, now)
    assert made
    if as_json:
        print_json(msgspec.to_builtins(made))
    else:
        click.echo(f"line {made.seq} is signed, in {home.checkpoints}")


@command.command("decisions")
@click.option("--rollout", help="Only those of this rollout.", metavar="ID")
@spec_option
@environment_option
@json_option
def decisions(rollout: str | None, path: Path, environment: str, as_json: bool) -> None:
    """Make every decision of canaries again, from the numbers in the ledger. Exit code 4 if one differs."""
    _, home = opened(path, environment)
    with Database(home.database) as database:
        lines = [one for one in ledger.entries(database) if "situation" in one.data]
    found = [Again.of(one) for one in lines if rollout in (None, one.data["rollout"])]
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        rows = [(str(one.line), one.rollout, one.kind, "✓" if one.same else "✗", _cut(one.reason)) for one in found]
        table(("#", "ROLLOUT", "DECISION", "AGAIN", "WHY"), rows, empty="no canary has decided anything yet")
    wrong = [one for one in found if not one.same]
    if wrong:
        raise Corrupt(f"another decision follows from the numbers of line {wrong[0].line}", where="ledger")


class Again(msgspec.Struct, frozen=True):
    """A decision in the ledger, and whether the same one follows from the numbers beside it."""

    line: int
    rollout: str
    kind: str
    reason: str
    same: bool

    @classmethod
    def of(cls, entry: ledger.Entry) -> Again:
        """The decision in *entry*, made once more."""
        told, found = again(dict(entry.data))
        return cls(entry.seq, entry.data["rollout"], told.kind, told.reason, told == found)


def _record(file: SpecFile, home: Home, report: Report) -> None:
    """Sign how many faults were found, as evidence about the organisation that answers for the ledger."""
    shop = open_workshop(home)
    faults = Evidence(
        metric="ledger_faults",
        value=float(len(report.problems)),
        unit="problems",
        n=report.lines,
        subject=Subject("organisation", organisation_subject(file.spec.standard.organisation)),
        produced_by=Producer("guideway/audit", __version__),
        at=shop.clock(),
    )
    attest(shop.blobs, shop.database, shop.signer, [faults], what="audit verified", at=shop.clock())


def _show(report: Report) -> None:
    for problem in report.problems[:SHOWN]:
        click.echo(f"✗ {problem.what}")
    if len(report.problems) > SHOWN:
        click.echo(f"✗ and {len(report.problems) - SHOWN} more (--json lists all)")
    whole = "" if report.problems else ", chain whole"
    click.echo(f"{report.lines} lines{whole}; {report.checkpoints} checkpoints, {report.bare} lines after the last")


def _cut(text: str, longest: int = 120) -> str:
    """The beginning of a long reason; `--json` has all of it."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
