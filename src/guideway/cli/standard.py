"""``guideway standard``."""

from __future__ import annotations

import datetime
from pathlib import Path

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.hints import addressed
from guideway.cli.project import environment_option, json_option, opened, signer_option, spec_option
from guideway.cli.state import catch_up
from guideway.cli.tables import table
from guideway.core.errors import SpecError, did_you_mean
from guideway.core.spec import SpecFile, build_part
from guideway.pipeline.workshop import open_workshop
from guideway.sealing.attest import waive
from guideway.signing.keys import person
from guideway.standard.clauses import Check, Clause, laws
from guideway.standard.overlay import clauses_for, level_of
from guideway.store import waivers

MARK = {"inform": "i", "warn": "w", "block": "b"}


@click.group("standard", invoke_without_command=True)
@spec_option
@environment_option
@click.option("--lang", type=click.Choice(("en", "zh")), default="en", show_default=True, help="Language.")
@json_option
@click.pass_context
def command(context: click.Context, path: Path, environment: str, lang: str, as_json: bool) -> None:
    """List the clauses: what a release must prove, and how hard each bites in dev, staging and prod."""
    if context.invoked_subcommand:
        return
    file, _ = opened(path, environment)
    clauses = clauses_for(file, build_part(file.spec))
    if as_json:
        print_json([msgspec.to_builtins(clause) for clause in clauses])
        return
    rows = [
        (clause.id, "/".join(MARK[bite] for bite in clause.bite), clause.when, clause.zh if lang == "zh" else clause.en)
        for clause in clauses
    ]
    table(("CLAUSE", "D/S/P", "ASKED AT", "WHAT MUST HOLD"), rows, empty="no clause")
    click.echo(
        addressed(f"\n'{environment}' is judged as {level_of(file)}; `guideway standard show CLAUSE` explains one")
    )


@command.command("show")
@click.argument("clause")
@spec_option
@environment_option
def show(clause: str, path: Path, environment: str) -> None:
    """Explain one CLAUSE: what it asks, of what, who asks for it, and which command leaves its proof."""
    file, _ = opened(path, environment)
    one = _find(file, clause)
    click.echo(f"{one.id}  {one.en}\n        {one.zh}\n")
    bites = ", ".join(f"{level}: {bite}s" for level, bite in zip(("dev", "staging", "prod"), one.bite, strict=True))
    facts = {
        "subject": one.subject,
        "asked at": one.when,
        "bites": bites,
        "proof": f"{one.proof.en} / {one.proof.zh}",
        "left by": one.command,
        "next": f"{one.do.en}\n{'':10}{one.do.zh}",
        "counts": ", ".join(one.scores) or "no item of the ML Test Score",
    }
    for name, text in facts.items():
        click.echo(f"{name:<10}{text}")
    for check in one.checks:
        click.echo(f"{'check':<10}{describe(check)}")
    for asked in one.asked_by:
        key, _, place = asked.partition(":")
        law = laws()[key]
        click.echo(f"{'asked by':<10}{law.title}{',' if place else ''}{place} ({law.text})")


@command.command("waive")
@click.argument("clauses", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why it may pass unproven.")
@click.option(
    "--until", required=True, type=click.DateTime(("%Y-%m-%d",)), help="The last day, a year from now at most."
)
@signer_option
@spec_option
@environment_option
def waive_(
    *, clauses: tuple[str, ...], reason: str, until: datetime.datetime, signer: str, path: Path, environment: str
) -> None:
    """Let CLAUSES pass unproven in one environment, for a reason and a time. It is signed, and shows everywhere."""
    file, home = opened(path, environment)
    shop = open_workshop(home)
    for clause in clauses:
        _find(file, clause)
    made = waive(
        shop.blobs,
        shop.database,
        person(home.keys, signer),
        name=file.spec.name,
        environment=environment,
        clauses=clauses,
        reason=reason,
        since=shop.clock(),
        until=until.replace(tzinfo=datetime.UTC).timestamp() + 86399,
    )
    catch_up(shop.database, home)
    click.echo(
        f"{', '.join(made.clauses)} may pass unproven in '{environment}' until {until.date()}, signed by {signer}"
    )


@command.command("waivers")
@spec_option
@environment_option
@json_option
def waivers_(path: Path, environment: str, as_json: bool) -> None:
    """List the waivers for an environment, those that ended included."""
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = waivers.all_of(shop.database, file.spec.name, environment)
    if as_json:
        print_json([msgspec.to_builtins(one) for one in found])
        return
    now = shop.clock()
    rows = [
        (
            ", ".join(one.clauses),
            one.signer,
            datetime.datetime.fromtimestamp(one.until, datetime.UTC).date().isoformat(),
            "" if one.until > now else "ended",
            one.reason,
        )
        for one in found
    ]
    table(("CLAUSES", "BY", "UNTIL", "", "REASON"), rows, empty=f"nothing is waived in '{environment}'")


def describe(check: Check) -> str:
    """One check in a line: ``kl_to_source of shipped, at most 0.02, only when compressed``."""
    parts = [f"{check.metric} of {check.about}"]
    if check.at_least is not None:
        parts.append(f"at least {check.at_least:g}")
    if check.at_most is not None:
        parts.append(f"at most {check.at_most:g}")
    if check.below:
        parts.append(f"below {check.below}")
    if check.worse_than_serving is not None:
        parts.append(f"at most {1 + check.worse_than_serving:g} times what serves")
    parts += [f"on at least {check.n:,}"] * bool(check.n) + ["with an interval"] * check.interval
    parts += ["by its whole interval"] * check.sure
    parts += [f"not older than {check.days:g} days"] if check.days else []
    parts += [f"only {check.only}"] if check.only else []
    parts += [f"for models that {'write text' if check.task == 'text' else check.task}"] if check.task else []
    parts += [f"can be imported from {', '.join(check.formats)}"] if check.formats else []
    return ", ".join(parts)


def _find(file: SpecFile, id: str) -> Clause:
    clauses = {clause.id: clause for clause in clauses_for(file, build_part(file.spec))}
    if id not in clauses:
        raise SpecError(f"there is no clause called '{id}'", try_this=did_you_mean(id.upper(), clauses))
    return clauses[id]
