"""``guideway build``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.draw import drawn
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.state import catch_up
from guideway.core.events import Note
from guideway.pipeline.build import build
from guideway.pipeline.workshop import open_workshop
from guideway.store.releases import label


@click.command("build")
@click.option("--replay", "again", is_flag=True, help="Train once more, and leave how far the two models are apart.")
@spec_option
@environment_option
@json_option
def command(*, again: bool, path: Path, environment: str, as_json: bool) -> None:
    """Run the stages that must run, judge the result, and seal a release.

    What is not proven is refused: exit code 3, with the reason.
    """
    file, home = opened(path, environment)
    with drawn(as_json=as_json) as emit:
        shop = open_workshop(home)
        built = build(file, shop, emit, again=again)
        catch_up(shop.database, home)
        emit(Note(f"sealed {label(built.release)}", {"release": built.release.digest}))
