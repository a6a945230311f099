"""``guideway evidence``."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.hints import addressed
from guideway.cli.project import environment_option, json_option, opened, signer_option, spec_option
from guideway.cli.state import catch_up
from guideway.cli.tables import table
from guideway.core.artifact import short
from guideway.core.dossier import Proof
from guideway.kit.printable import printable
from guideway.pipeline.assess import gather
from guideway.pipeline.bring import Asked, bring
from guideway.pipeline.workshop import open_workshop
from guideway.signing.keys import person
from guideway.standard.clauses import About
from guideway.standard.judge import figure_of
from guideway.store import evidence as kept
from guideway.store import releases

ABOUT: tuple[About, ...] = ("data", "trained", "shipped", "package", "code", "release", "environment", "organisation")


@click.group("evidence")
def command() -> None:
    """List, show and import evidence: measured facts about one digest, each signed."""


@command.command("list")
@click.argument("release", required=False)
@spec_option
@environment_option
@json_option
def list_(release: str | None, path: Path, environment: str, as_json: bool) -> None:
    """List what is proven about RELEASE (default: the newest) and its environment, by metric."""
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = releases.find(shop.database, release) if release else releases.newest(shop.database, file.spec.name)
    dossier = gather(shop, file, found)
    names = {digest: name for name, digest in dossier.subjects.items()}
    proofs = sorted(dossier.proofs, key=lambda one: (one.evidence.metric, one.evidence.slice, one.evidence.at))
    if as_json:
        print_json([msgspec.to_builtins(one) for one in proofs])
        return
    rows = [
        (
            short(one.digest),
            one.evidence.metric,
            f"{figure_of(one.evidence)} {one.evidence.unit}".rstrip(),
            names.get(one.evidence.subject.digest, short(one.evidence.subject.digest)),
            _signed(one),
            _day(one.evidence.at),
        )
        for one in proofs
    ]
    table(("EVIDENCE", "METRIC", "VALUE", "ABOUT", "SIGNED BY", "DAY"), rows, empty="nothing is proven yet")


@command.command("show")
@click.argument("digest")
@spec_option
@json_option
def show(digest: str, path: Path, as_json: bool) -> None:
    """Show one piece of evidence, by its digest or the first digits of it."""
    _, home = opened(path, "dev")
    shop = open_workshop(home)
    one = kept.by_digest(shop.database, digest)
    plain: dict[str, Any] = msgspec.to_builtins(one)
    if as_json:
        print_json(plain)
        return
    for name, value in {**plain.pop("evidence"), **plain}.items():
        click.echo(printable(f"{name:<12}{_day(value) if name in ('at', 'valid_until') and value else value}"))


@command.command("import")
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--clause", metavar="ID", help="What it proves; JUnit, Cobertura and SARIF do not say so themselves.")
@click.option("--about", type=click.Choice(ABOUT), help="What it is about; default: what the clause asks for.")
@click.option("--release", help="Of which release (default: the newest).", metavar="RELEASE")
@click.option("--format", "form", type=click.Choice(("json", "junit", "cobertura", "sarif", "in-toto")))
@signer_option
@spec_option
@environment_option
@json_option
def import_(
    *,
    report: Path,
    clause: str | None,
    about: About | None,
    release: str | None,
    form: Any,
    signer: str,
    path: Path,
    environment: str,
    as_json: bool,
) -> None:
    """Import REPORT as evidence, signed by a named key and marked as given by hand.

    REPORT is plain JSON ({"metric": …, "value": …}), JUnit, Cobertura, SARIF or an in-toto statement. By hand
    counts half in the ML Test Score, and never outvotes what a tool measured.
    """
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = releases.find(shop.database, release) if release else releases.newest(shop.database, file.spec.name)
    asked = Asked(report=report, clause=clause, about=about, format=form)
    brought = bring(shop, file, found, person(home.keys, signer), asked)
    catch_up(shop.database, home)
    if as_json:
        print_json([msgspec.to_builtins(one) for one in brought])
        return
    for one in brought:
        click.echo(
            f"{one.metric} {figure_of(one)} {one.unit}".rstrip()
            + f" about {one.subject.kind} {short(one.subject.digest)}"
        )
    click.echo(addressed(f"signed by {signer}, by hand; `guideway assess` counts it"))


def _signed(one: Proof) -> str:
    """Who signed; what is seen in the release itself is signed when it is admitted."""
    if not one.envelope:
        return "seen now"
    return one.signer if one.evidence.automatic else f"{one.signer} (by hand)"


def _day(at: float) -> str:
    return datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
