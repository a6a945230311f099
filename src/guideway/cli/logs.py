"""``guideway logs``."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

import click

from guideway.cli.project import environment_option, spec_option, state_of
from guideway.core.errors import SpecError, did_you_mean
from guideway.kit.printable import printable


@click.command("logs")
@click.argument("name", required=False)
@click.option(
    "-n", "lines", default=40, show_default=True, type=click.IntRange(min=0), help="How many lines from the end."
)
@click.option("--follow", is_flag=True, help="Go on as lines come, until Ctrl-C.")
@spec_option
@environment_option
def command(name: str | None, lines: int, follow: bool, path: Path, environment: str) -> None:
    """Show the end of the log NAME; without a name, list what there is, the newest first."""
    home, _ = state_of(path, environment)
    logs = {str(one.relative_to(home.logs).with_suffix("")): one for one in home.logs.rglob("*.log")}
    others = tuple(f"{one.name}/" for one in (home.run / "env").glob("*") if one.name != environment)
    logs = {known: one for known, one in logs.items() if not known.startswith(others)}
    if name is None:
        for known in sorted(logs, key=lambda known: -logs[known].stat().st_mtime):
            click.echo(printable(known))
        return
    matching = [known for known in logs if known == name] or [known for known in logs if name in known]
    if not matching:
        raise SpecError(f"there is no log '{name}'", try_this=did_you_mean(name, logs))
    _tail(logs[max(matching, key=lambda known: logs[known].stat().st_mtime)], lines, follow)


def _tail(path: Path, lines: int, follow: bool) -> None:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in deque(file, maxlen=lines):
            click.echo(printable(line), nl=False)
        while follow:
            line = file.readline()
            if line:
                click.echo(printable(line), nl=False)
            else:
                time.sleep(0.2)
