"""``guideway check``."""

from __future__ import annotations

from pathlib import Path

import click

from guideway.cli.project import environment_option, opened, spec_option
from guideway.pipeline.check import check


@click.command("check")
@spec_option
@environment_option
def command(path: Path, environment: str) -> None:
    """Check guideway.yaml and everything it names; prints the first error with its line."""
    file, _ = opened(path, environment)
    check(file)
    click.echo(f"{path} is in order for '{environment}'")
