"""``guideway plan``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.steps import duration
from guideway.cli.tables import table
from guideway.core.artifact import short
from guideway.pipeline.check import check
from guideway.pipeline.laid import laid
from guideway.pipeline.planned import planned
from guideway.pipeline.workshop import open_workshop


@click.command("plan")
@spec_option
@environment_option
@json_option
def command(path: Path, environment: str, as_json: bool) -> None:
    """Say which stages will run, and why. Runs nothing."""
    file, home = opened(path, environment)
    check(file)
    with laid(file, home):
        steps = planned(file, open_workshop(home))
    if as_json:
        fields = ("stage", "runs", "why", "key", "seconds")
        print_json([{name: getattr(step, name) for name in fields} for step in steps])
        return
    rows = [
        (
            step.stage,
            "run" if step.runs else "keep",
            step.why,
            duration(step.seconds) if step.seconds is not None else "?",
            short(step.result.artifact.digest) if step.result else "",
        )
        for step in steps
    ]
    table(("STAGE", "", "WHY", "LAST TOOK", "RESULT"), rows, empty="nothing to do")
