"""``guideway diff``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from guideway.cli.draw import print_json
from guideway.cli.project import environment_option, json_option, opened, spec_option
from guideway.cli.tables import table
from guideway.core.artifact import short
from guideway.sealing.difference import Change, Data, Difference, FileChange, Files, Metric, difference, side
from guideway.signing.keys import trusted
from guideway.store import releases
from guideway.store.blobs import Blobs
from guideway.store.database import Database

LONGEST = 24
"""Letters of a value in a table; ``--json`` shows all of it."""
WHOLE = 96
"""Letters of a value that decides what a model is: the end of a path may be all that differs."""
MOST = 20
"""Rows of a table; ``--json`` shows all of them."""
DECIDING = ("task", "train.recipe", "train.base", "train.teacher", "data", "serve.engine", "compress.precision")
"""Keys of the spec that are shown first, and always, with all that somebody wrote below them."""


@click.command("diff")
@click.argument("old")
@click.argument("new", required=False)
@spec_option
@environment_option
@json_option
def command(old: str, new: str | None, path: Path, environment: str, as_json: bool) -> None:
    """Say what changed from release OLD to NEW (default: the newest).

    A release is a digest, its first digits, or a number such as 3. Figures are shown as far as trusted keys signed
    them; "within noise" means that both intervals overlap.
    """
    file, home = opened(path, environment)
    with Database(home.database) as database:
        first = releases.find(database, old)
        second = releases.find(database, new) if new else releases.newest(database, file.spec.name)
    blobs, keys = Blobs(home.oci), trusted(home.keys)
    found = difference(side(blobs, first, keys), side(blobs, second, keys))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    click.echo(f"{releases.label(first)} → {releases.label(second)}")
    if first.digest == second.digest:
        click.echo("the same release")
        return
    for section in sections(found):
        draw(section)


class Section(NamedTuple):
    """A heading with one line, and a table that may be empty, of which the first rows are *always* shown."""

    title: str
    line: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    always: int = 0


def draw(section: Section) -> None:
    """Show one section."""
    click.echo(f"\n{click.style(section.title, bold=True)}: {section.line}")
    shown = section.rows[: max(MOST, section.always)]
    if shown:
        table(section.columns, shown, empty="")
    if len(section.rows) > len(shown):
        click.echo(f"… and {len(section.rows) - len(shown):,} more (--json shows all)")


def sections(found: Difference) -> list[Section]:
    """Every section of a difference, in the order in which people read it; nothing that changed is left out."""
    licence = found.licence
    return [
        _changes("Interface", found.interface, "a client will notice"),
        *_data(found.data),
        _parameters(found.parameters),
        _figures(found.metrics),
        _files(found.files),
        Section("Size", f"{size(found.size.old)} → {size(found.size.new)} ({size(found.size.change, sign=True)})"),
        Section("Licence", f"{value(licence.old)} → {value(licence.new)}" if licence else "unchanged"),
        _changes("Policy", found.policy),
        _changes("Libraries", found.libraries),
    ]


def _changes(title: str, changes: Sequence[Change], note: str = "") -> Section:
    if not changes:
        return Section(title, "unchanged")
    rows = [(on_a_line(one.key), value(one.old), value(one.new)) for one in changes]
    return Section(title, f"{len(changes)} changed" + (f", {note}" if note else ""), ("KEY", "OLD", "NEW"), rows)


def _parameters(changes: Sequence[Change]) -> Section:
    """What decides first, then what somebody wrote, then what only another default changed."""
    if not changes:
        return Section("Parameters", "unchanged")
    ordered = sorted(changes, key=lambda one: (one.default, not decides(one.key)))
    deciding = sum(decides(one.key) and not one.default for one in changes)
    defaults = sum(one.default for one in changes)
    rows = [
        (on_a_line(one.key), *(value(side, WHOLE if decides(one.key) else LONGEST) for side in (one.old, one.new)))
        for one in ordered
    ]
    line = f"{len(changes)} changed" + (f", {defaults} of them by defaults alone" if defaults else "")
    return Section("Parameters", line, ("KEY", "OLD", "NEW"), rows, deciding)


def decides(key: str) -> bool:
    """Is *key*, a dotted one, among those that decide what a model is?"""
    return any(key == one or key.startswith((f"{one}.", f"{one}[")) for one in DECIDING)


def _data(data: Data) -> list[Section]:
    sources = [
        (on_a_line(one.path), _kind(one.old, one.new), _arrow(one.old_rows, one.new_rows), _digests(one.old, one.new))
        for one in data.sources
    ]
    splits = [
        (one.name, _arrow(one.old_rows, one.new_rows), "the same rows" if one.same else "other rows")
        for one in data.splits
    ]
    same = f"{data.same_sources} unchanged"
    line = f"{len(sources)} sources changed, {same}" if sources else f"sources {same}"
    return [
        Section("Data", line, ("SOURCE", "", "ROWS", "DIGEST"), sources),
        Section("Splits", f"{sum(not one.same for one in data.splits)} changed", ("SPLIT", "ROWS", ""), splits),
        *([_changes("About the data", data.other)] if data.other else []),
    ]


def _figures(metrics: Sequence[Metric]) -> Section:
    if not metrics:
        return Section("Figures", "none that a trusted key signed")
    compared = [one for one in metrics if not one.unseen]
    moved = [one for one in compared if one.change != 0]
    rows = [
        (
            on_a_line(one.name),
            on_a_line(one.about + (f"/{one.slice}" if one.slice else "")),
            number(one.old),
            number(one.new),
            f"{one.change:+.3g}" if one.change is not None else "",
            _noise(one),
        )
        for one in moved
    ]
    line = f"{len(moved)} changed, {len(compared) - len(moved)} unchanged"
    if unseen := len(metrics) - len(compared):
        line += f"; {unseen} are known of one alone, since the other was never admitted anywhere"
    return Section("Figures", line, ("FIGURE", "ABOUT", "OLD", "NEW", "CHANGE", ""), rows)


def _noise(one: Metric) -> str:
    if one.change is None:
        return "new" if one.old is None else "gone"
    return {True: "within noise", False: "beyond noise", None: "no interval"}[one.within_noise]


def _files(files: Files) -> Section:
    every: Iterable[FileChange] = (*files.changed, *files.added, *files.removed)
    rows = [(on_a_line(one.path), _kind(one.old, one.new), size(one.old), size(one.new)) for one in every]
    same = f"{files.unchanged} unchanged ({size(files.unchanged_bytes)})"
    line = f"{len(rows)} changed, {same}; beside the first it stores {size(files.new_bytes)}"
    return Section("Files", line, ("FILE", "", "OLD", "NEW"), rows)


def _kind(old: object, new: object) -> str:
    return "added" if old is None else "removed" if new is None else "changed"


def _arrow(old: int | None, new: int | None) -> str:
    shown = ["–" if one is None else f"{one:,}" for one in (old, new)]
    return shown[0] if old == new else " → ".join(shown)


def _digests(old: str | None, new: str | None) -> str:
    return short(new or "") if old in (None, new) else short(old) if new is None else f"{short(old)} → {short(new)}"


def number(figure: float | None) -> str:
    """Four significant digits, or a dash."""
    return "–" if figure is None else f"{figure:.4g}"


def size(count: int | None, *, sign: bool = False) -> str:
    """``12.3 MB``, ``3.4 kB``, ``12 B``; a dash for None."""
    if count is None:
        return "–"
    plus = "+" if sign and count > 0 else ""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= bytes_:
            return f"{plus}{count / bytes_:.1f} {unit}"
    return f"{plus}{count} B"


def value(one: Any, most: int = LONGEST) -> str:
    """A value of a spec in a cell: *most* letters, printable, and a dash where there is none."""
    if one is None:
        return "–"
    text = on_a_line(one) if isinstance(one, str) else msgspec.json.encode(one).decode()
    text = text or '""'
    return text if len(text) <= most else text[: most - 1] + "…"


def on_a_line(text: str) -> str:
    """*text* without anything that a terminal would take for more than a letter."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
