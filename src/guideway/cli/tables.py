"""Tables for people: plain lines, styled where a terminal is."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from guideway.cli.hints import addressed
from guideway.kit.printable import printable


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """A plain table; *empty* is said when there are no rows."""
    styled_table(columns, [[Text(cell) for cell in row] for row in rows], empty=empty)


def styled_table(columns: Sequence[str], rows: Sequence[Sequence[Text]], *, empty: str) -> None:
    """The same, with cells that bring their own style: never markup, since people named what stands in them."""
    for line in table_lines(columns, rows, empty=empty):
        click.echo(line)


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Text]], *, empty: str) -> tuple[str, ...]:
    """The lines of such a table, styled where a terminal is."""
    if not rows:
        return (addressed(empty),)
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*map(_harmless, row))
    console = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return tuple(captured.get().splitlines())


def _harmless(cell: Text) -> Text:
    """*cell*, or where it would steer the terminal what is left of it, in one style."""
    left = printable(cell.plain)
    return cell if left == cell.plain else Text(left, style=cell.style)
