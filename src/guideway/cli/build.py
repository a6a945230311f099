"""``guideway build``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.draw import Emit, drawn
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.core.events import Note
from guideway.core.gate import Judgement
from guideway.pipeline.build import build
from guideway.pipeline.workshop import open_workshop
from guideway.store.releases import label


@click.command("build")
@spec_option
@environment_option
@json_option
def command(path: Path, environment: str, as_json: bool) -> None:
    """Run the stages that must run, judge the result, and seal a release.

    What is not proven is refused: exit code 3, with the reason.
    """
    file, home = opened(path, environment)
    with drawn(as_json=as_json) as emit:
        built = build(file, open_workshop(home), emit)
        tell(emit, built.judgements)
        emit(Note(f"sealed {label(built.release)}", {"release": built.release.digest}))


def tell(emit: Emit, judgements: tuple[Judgement, ...]) -> None:
    """One line per clause: verdict, what it asks, the figure and the limit."""
    for one in judgements:
        emit(
            Note(
                f"{one.clause:<7} {one.verdict} {one.asks}: {one.figure}, limit {one.limit}",
                {"clause": one.clause, "verdict": one.verdict, "evidence": one.evidence},
            )
        )
