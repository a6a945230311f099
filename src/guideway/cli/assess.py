"""``guideway assess``."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import click
import msgspec
from rich.text import Text

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.tables import styled_table
from guideway.core.artifact import short
from guideway.core.errors import Refused, SpecError
from guideway.core.gate import Judgement, Verdict, When
from guideway.core.release import Release
from guideway.core.spec import SpecFile
from guideway.kit.files import write_atomic
from guideway.pipeline.assess import ALL, Assessed, assess
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.store import fleet, ledger, releases

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.UNKNOWN: "yellow"}
MARKS = {Verdict.PASS: "✓", Verdict.FAIL: "✗", Verdict.UNKNOWN: "?"}


@click.command("assess")
@click.argument("release", required=False)
@click.option(
    "--serving", is_flag=True, help="Judge what serves now, by the clauses asked while it serves; for a schedule."
)
@click.option("--when", type=click.Choice(ALL), multiple=True, help="Only clauses of this step; may be given again.")
@click.option("--open", "only_open", is_flag=True, help="Leave out what is proven.")
@click.option("--junit", type=click.Path(path_type=Path), help="Also write a JUnit file for continuous integration.")
@click.option("--lang", type=click.Choice(("en", "zh")), default="en", show_default=True, help="Language of the table.")
@spec_option
@environment_option
@json_option
def command(
    *,
    release: str | None,
    serving: bool,
    when: tuple[When, ...],
    only_open: bool,
    junit: Path | None,
    lang: str,
    path: Path,
    environment: str,
    as_json: bool,
) -> int:
    """Judge RELEASE (default: the newest) by every clause of the Standard, for one environment.

    Writes nothing. Exit code 0 when nothing blocks, 3 when something does. With --serving a proof that has
    expired is told and goes to the ledger; it never stops what serves.
    """
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = _release(shop, file, release, serving)
    assessed = assess(shop, file, found, at=shop.clock(), when=when or ALL)
    if serving:
        _remember(shop, assessed)
    if junit:
        write_atomic(junit, junit_of(assessed).encode())
    if as_json:
        print_json(as_data(assessed))
    else:
        show(assessed, only_open=only_open, chinese=lang == "zh")
    return Refused.exit_code if assessed.stops else 0


def show(assessed: Assessed, *, only_open: bool, chinese: bool = False) -> None:
    """One table: clause, verdict, figure against limit, proof, and what to do next; then the sum of it."""
    shown = [one for one in assessed.judgements if not (only_open and one.verdict is Verdict.PASS)]
    rows = [_row(one, chinese) for one in shown]
    styled_table(("CLAUSE", "VERDICT", "ASKS · FIGURE · LIMIT", "PROOF"), rows, empty="every clause is proven")
    click.echo()
    click.echo(summary(assessed))


def summary(assessed: Assessed) -> str:
    """``days:1 in prod, judged as prod: 12 PASS, 2 FAIL, 33 UNKNOWN; 30 block``."""
    counts = Counter(one.verdict for one in assessed.judgements)
    told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
    blocks = [one for one in assessed.judgements if one.stops]
    waived = sum(bool(one.waived) for one in assessed.judgements)
    dossier = assessed.dossier
    name = releases.label(dossier.release) if dossier.release else dossier.name
    end = f"{len(blocks)} block" if blocks else "nothing blocks"
    more = f", {waived} waived" if waived else ""
    return f"{name} for '{dossier.environment}', judged as {assessed.level}: {told}{more}; {end}"


def as_data(assessed: Assessed) -> dict[str, object]:
    """The same for machines."""
    release = assessed.dossier.release
    return {
        "release": release.digest if release else None,
        "name": assessed.dossier.name,
        "environment": assessed.dossier.environment,
        "level": assessed.level,
        "policy": assessed.policy,
        "blocks": [one.clause for one in assessed.judgements if one.stops],
        "judgements": [{**msgspec.to_builtins(one), "stops": one.stops} for one in assessed.judgements],
    }


def junit_of(assessed: Assessed) -> str:
    """A JUnit report: what stops is a failure, what is open and does not stop is skipped with its reason."""
    judged = assessed.judgements
    stops = sum(one.stops for one in judged)
    suite = ElementTree.Element("testsuite", name=f"guideway {assessed.dossier.environment}", tests=str(len(judged)))
    suite.set("failures", str(stops))
    suite.set("skipped", str(sum(one.verdict is not Verdict.PASS and not one.stops for one in judged)))
    for one in judged:
        case = ElementTree.SubElement(
            suite, "testcase", classname=one.clause.partition("-")[0], name=f"{one.clause} {one.asks}"
        )
        said = f"{one.verdict}: {one.figure}, limit {one.limit}"
        if one.stops:
            ElementTree.SubElement(case, "failure", type=one.verdict, message=said).text = one.try_this
        elif one.verdict is not Verdict.PASS:
            ElementTree.SubElement(case, "skipped", message=f"{said}; {one.waived or one.bite + 's only'}")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _row(one: Judgement, chinese: bool) -> Sequence[Text]:
    verdict = Text(f"{MARKS[one.verdict]} {one.verdict}", style=STYLES[one.verdict])
    verdict.append(
        f"\n  {'waived' if one.waived else one.bite + 's' if one.verdict is not Verdict.PASS else ''}", style="dim"
    )
    asks = Text((one.asks_zh if chinese else one.asks) or one.asks)
    asks.append(f"\n{one.figure}, limit {one.limit}", style="bold" if one.stops else "dim")
    if one.waived:
        asks.append(f"\nwaived {one.waived}", style="magenta")
    elif one.verdict is not Verdict.PASS:
        asks.append(f"\n→ {(one.try_this_zh if chinese else one.try_this) or one.try_this}", style="cyan")
    proof = short(one.evidence) if one.evidence else ""
    return (
        Text(one.clause, style="bold"),
        verdict,
        asks,
        Text(proof + ("" if one.automatic or one.verdict is not Verdict.PASS else "\nby hand"), style="dim"),
    )


def _release(shop: Workshop, file: SpecFile, text: str | None, serving: bool) -> Release:
    if not serving:
        return releases.find(shop.database, text) if text else releases.newest(shop.database, file.spec.name)
    route = fleet.route(shop.database, file.environment)
    if route is None or route.stable is None:
        raise SpecError(f"nothing serves in '{file.environment}'", try_this="`guideway up`")
    found = releases.by_digest(shop.database, route.stable.release)
    if found is None:
        raise SpecError("what serves is not in the list of releases", where=short(route.stable.release))
    return found


def _remember(shop: Workshop, assessed: Assessed) -> None:
    """What no longer holds while it serves goes to the ledger, whoever looks at the screen."""
    open_ = [one for one in assessed.judgements if one.stops]
    release = assessed.dossier.release
    if open_ and release:
        day = datetime.datetime.fromtimestamp(shop.clock(), datetime.UTC).date().isoformat()
        told = "; ".join(f"{one.clause} {one.verdict}: {one.figure}" for one in open_)
        environment = assessed.dossier.environment
        ledger.append(
            shop.database,
            at=shop.clock(),
            who=shop.signer.name,
            what="assess serving",
            subject=release.digest,
            why=f"{day} {environment}: {told}",
            data={"clauses": [one.clause for one in open_], "environment": environment},
        )
