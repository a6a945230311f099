"""``guideway report``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.project import environment_option, opened, spec_option
from guideway.core.errors import Unavailable
from guideway.core.release import Release
from guideway.core.spec import SpecFile
from guideway.kit.files import write_atomic
from guideway.pipeline.workshop import Workshop, open_workshop
from guideway.standard.reports import REPORTS, Drawn, Form, Language, render
from guideway.store import releases

FORMS: dict[str, Form] = {".md": "md", ".html": "html", ".htm": "html", ".json": "json"}
KINDS = "\n\n".join(f"{kind}: {report.title}." for kind, report in REPORTS.items())


@click.command("report", help=f"Draw the report KIND of RELEASE (default: the newest) from its evidence.\n\n{KINDS}")
@click.argument("kind", type=click.Choice(tuple(REPORTS)), metavar="KIND")
@click.argument("release", required=False)
@click.option("--lang", type=click.Choice(("en", "zh")), default="en", show_default=True, help="Language.")
@click.option(
    "--format", "form", type=click.Choice(("md", "html", "json")), help="Default: by FILE, else md (aibom: json)."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it to FILE."
)
@spec_option
@environment_option
def command(
    *,
    kind: str,
    release: str | None,
    lang: Language,
    form: Form | None,
    output: Path | None,
    path: Path,
    environment: str,
) -> None:
    """Draw one report, and print it or write it whole."""
    file, home = opened(path, environment)
    shop = open_workshop(home)
    found = releases.find(shop.database, release) if release else releases.newest(shop.database, file.spec.name)
    text = render(kind, _drawn(shop, file, found, at=shop.clock()), language=lang, form=form or form_of(kind, output))
    if output is None:
        click.echo(text, nl=False)
        return
    write_atomic(output, text.encode())
    click.echo(f"{output}: {kind} of {releases.label(found)}")


def form_of(kind: str, output: Path | None) -> Form:
    """The form that the name of the file asks for, else the usual one of the report."""
    return FORMS.get(output.suffix.lower(), REPORTS[kind].form) if output else REPORTS[kind].form


def _drawn(shop: Workshop, file: SpecFile, release: Release, *, at: float) -> Drawn:
    """Everything that is known about *release* in the environment of *file*, judged at *at* by every clause."""
    # TO FILL IN when the pipeline opens dossiers (guideway.pipeline.assess):
    #     assessed = assess(shop, file, release, at=at)
    #     return Drawn(assessed.dossier, assessed.judgements, assessed.clauses, at)
    raise Unavailable(
        f"no dossier of {release.name} can be opened in '{file.environment}' at {at:.0f} by {shop.signer.name}"
    )
