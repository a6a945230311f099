"""``guideway explain``."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from guideway.cli.draw import Emit, print_json
from guideway.cli.live import Tree
from guideway.cli.project import environment_option, json_option, opened, release_and, spec_option
from guideway.core.errors import SpecError, Unavailable
from guideway.core.events import Progress
from guideway.core.release import Release
from guideway.kit.files import write_atomic
from guideway.kit.printable import printable
from guideway.signing.keys import trusted
from guideway.standard.reports.clean import clean
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database
from guideway.store.home import Home

if TYPE_CHECKING:
    from guideway.pipeline.stages.explain.attribution import Attribution

METHODS = ("auto", "occlusion", "shap", "lime", "gradients")
FOR, AGAINST = (37, 99, 201), (217, 98, 43)
_BAR = 24


@click.command("explain")
@click.argument("words", nargs=-1, metavar="[RELEASE] [TEXT]")
@click.option("--answer", metavar="TEXT", help="Explain this answer (or class) instead of the model's own.")
@click.option("--method", type=click.Choice(METHODS), default="auto", show_default=True, help="See docs/explain.md.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write a page.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Instead of a text: write the report of the build.",
)
@spec_option
@environment_option
@json_option
def command(
    words: tuple[str, ...],
    *,
    answer: str | None,
    method: str,
    html: Path | None,
    report: Path | None,
    path: Path,
    environment: str,
    as_json: bool,
) -> None:
    """Show which words of TEXT made the answer, or the class, that RELEASE (default: the newest) gives.

    Of an answer each word is left out in turn, and its weight is how much less likely the answer becomes, in nats: 0.7
    is half as likely. The weights of a class are probabilities, by SHAP. The release is verified as before it is
    served, and nothing needs to run. On a terminal the text is a heat map, blue for words that speak for what was said
    and orange for those against it; elsewhere there is one line for each word. With --report there is no TEXT.
    """
    release, text = release_and(words if report is None else (*words, ""), "text")
    file, home = opened(path, environment)
    with Database(home.database) as database:
        found = releases.find(database, release) if release else releases.newest(database, file.spec.name)
        if report:
            _write_report(database, home, found, report)
            return
        if release is None:
            _check_is_text(database, text)
    with _watched() as emit, _needed():
        attribution = _explained(home, found, Wanted(text, answer, method), emit)
    if html:
        with _needed():
            from guideway.pipeline.stages.explain.page import page_of
        write_atomic(html, page_of(attribution).encode())
    if as_json:
        print_json({"release": found.digest, **msgspec.to_builtins(attribution)})
    elif sys.stdout.isatty():
        _show(attribution)
    else:
        click.echo("".join(f"{line}\n" for line in plain(attribution)), nl=False)


def _check_is_text(database: Database, word: str) -> None:
    """Refuse a *word* that stands alone and is written as a release: the text was forgotten, or it is meant as one."""
    if releases.looks_like_one(database, word):
        raise SpecError(
            f"'{word}' alone is read as a release, and there is no text to explain",
            try_this=f"`guideway explain {word} TEXT`, or to explain this very text: `guideway explain RELEASE {word}`",
        )


def _write_report(database: Database, home: Home, release: Release, path: Path) -> None:
    with _needed():
        from guideway.pipeline.explaining import report_of
    write_atomic(path, report_of(database, Blobs(home.oci), release.digest))
    click.echo(f"{path}: explanations of {releases.label(release)}")


def plain(found: Attribution) -> list[str]:
    """The answer and its scores, and one line for each word in the order of the text: weight, tab, word."""
    pairs = zip(found.weights, found.tokens, strict=True)
    return [f"# {_summary(found)}", *(f"{weight:+.4f}\t{clean(token.text)}" for weight, token in pairs)]


def heat_map(found: Attribution) -> Text:
    """The text with each word on a ground as strong as its weight."""
    far, at, drawn = max(map(abs, found.weights), default=0.0) or 1.0, 0, Text()
    for token, weight in zip(found.tokens, found.weights, strict=True):
        drawn.append(printable(found.text[at : token.start]))
        drawn.append(printable(token.text), style=_style(weight / far))
        at = token.end
    return drawn.append(printable(found.text[at:]))


class Wanted(NamedTuple):
    """What is to be explained, and how; None: the answer that the model gives."""

    text: str
    answer: str | None
    method: str


def _explained(home: Home, release: Release, wanted: Wanted, emit: Emit) -> Attribution:
    from guideway.pipeline.explaining import ReleaseExplainer, laid_out

    def read(done: int, total: int) -> None:
        emit(Progress("verify", done / 1e6, total / 1e6, "MB"))

    def scored(done: int, total: int) -> None:
        emit(Progress("explain", done, total, f"{done} of {total} variants"))

    with laid_out(Blobs(home.oci), release.digest, trusted(home.keys), home.run, read) as folder:
        model = ReleaseExplainer(folder)
        return model.explain(wanted.text, answer=wanted.answer, method=wanted.method, progress=scored)


def _show(found: Attribution) -> None:
    """The heat map, the answer, and the heaviest words with bars."""
    console = Console(highlight=False)
    console.print(heat_map(found), Text(f"\n→ {_summary(found)}\n"), sep="\n")
    far = max(map(abs, found.weights), default=0.0) or 1.0
    heaviest = sorted(zip(found.weights, found.tokens, strict=True), key=lambda pair: -abs(pair[0]))[:10]
    for weight, token in heaviest:
        bar = "━" * round(abs(weight) / far * _BAR)
        colour = "rgb({},{},{})".format(*(FOR if weight >= 0 else AGAINST))
        console.print(Text(f"{weight:+9.3f}  ").append(f"{bar:<{_BAR}}", colour).append(f"  {clean(token.text)}"))


def _summary(found: Attribution) -> str:
    scores = f"score {found.score:.3g}, without any word {found.baseline:.3g} {found.unit}"
    return f"{clean(found.target)} ({scores}; {found.method})"


def _style(share: float) -> str:
    """From nothing to white on full colour."""
    strength = abs(share)
    if strength < 0.05:
        return ""
    red, green, blue = (round(255 - (255 - part) * strength) for part in (FOR if share > 0 else AGAINST))
    return f"{'white' if strength > 0.55 else 'black'} on rgb({red},{green},{blue})"


@contextlib.contextmanager
def _watched() -> Iterator[Emit]:
    """Progress on the terminal, beside what is printed."""
    if not sys.stderr.isatty():
        yield lambda event: None
        return
    tree = Tree()
    with Live(tree, console=Console(stderr=True, highlight=False), transient=True, refresh_per_second=12):
        yield tree.take


@contextlib.contextmanager
def _needed() -> Iterator[None]:
    """A library that is missing is said in one line."""
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "a library").partition(".")[0]
        raise Unavailable(f"{library} is not installed", try_this="pip install 'guideway[explain]'") from None
