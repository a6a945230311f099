"""A page: what a report says, before anybody knows in which language and in which form."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from guideway.standard.reports.words import Cell, Language, Words, runs, spoken


class Heading(NamedTuple):
    """A heading; level 2 starts a section, level 3 a part of one."""

    level: int
    text: Words


class Paragraph(NamedTuple):
    """One paragraph."""

    cell: Cell


class Items(NamedTuple):
    """A list of short things."""

    cells: tuple[Cell, ...]


class Facts(NamedTuple):
    """Names and what is known of each."""

    rows: tuple[tuple[Cell, Cell], ...]


class Table(NamedTuple):
    """A table; every row has as many cells as there are columns."""

    columns: tuple[Words, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Commands(NamedTuple):
    """Lines to type."""

    lines: tuple[str, ...]


class Bar(NamedTuple):
    """A share between 0 and 1, with its name and what it is a share of."""

    name: Cell
    share: float
    note: Cell


class Bars(NamedTuple):
    """Shares side by side."""

    rows: tuple[Bar, ...]


class Whisker(NamedTuple):
    """A value with its interval, and perhaps another to compare it with."""

    name: Cell
    value: float
    low: float
    high: float
    against: float | None = None


class Whiskers(NamedTuple):
    """Values of one figure with their intervals: a picture of what a table beside it says in numbers."""

    title: Words
    rows: tuple[Whisker, ...]


class Axis(NamedTuple):
    """What an axis measures. ``names`` are those of the values 0, 1, …, where they are choices and no numbers."""

    name: Words | str
    log: bool = False
    names: tuple[str, ...] = ()


class Dot(NamedTuple):
    """One value against another; ``name`` is shown when it is pointed at."""

    x: float
    y: float
    kind: Literal["plain", "faint", "best"] = "plain"
    name: str = ""


class Plot(NamedTuple):
    """Dots over two axes, and a line through the points ``line`` that changes only there."""

    title: Words
    x: Axis
    y: Axis
    dots: tuple[Dot, ...]
    line: tuple[tuple[float, float], ...] = ()


class Strand(NamedTuple):
    """One row over all axes of `Strands`."""

    values: tuple[float, ...]
    best: bool = False
    name: str = ""


class Strands(NamedTuple):
    """Rows as lines over axes side by side (parallel coordinates)."""

    title: Words
    axes: tuple[Axis, ...]
    rows: tuple[Strand, ...]


Block = Heading | Paragraph | Items | Facts | Table | Commands | Bars | Whiskers | Plot | Strands


class Page(msgspec.Struct, frozen=True):
    """One report: its title, what it is about, and its blocks."""

    title: Words
    facts: tuple[tuple[Cell, Cell], ...]
    blocks: tuple[Block, ...]


def plain(page: Page, language: Language) -> dict[str, Any]:
    """The page as plain values, for machines that want the text."""
    return {
        "title": page.title.said(language),
        "language": language,
        "about": _plain_pairs(page.facts, language),
        "blocks": [_plain_block(block, language) for block in page.blocks],
    }


def text(cell: Cell, language: Language) -> str:
    """*cell* as one string."""
    return "".join(run.text for run in runs(cell, language))


def _plain_block(block: Block, language: Language) -> dict[str, Any]:
    return {"block": type(block).__name__.lower(), **_plain_fields(block, language)}


def _plain_fields(block: Block, language: Language) -> dict[str, Any]:
    match block:
        case Heading(level, words):
            return {"level": level, "text": words.said(language)}
        case Paragraph(cell):
            return {"text": text(cell, language)}
        case Items(cells):
            return {"items": [text(cell, language) for cell in cells]}
        case Facts(rows):
            return {"facts": _plain_pairs(rows, language)}
        case Table(heads, table_rows):
            named = [head.said(language) for head in heads]
            return {"columns": named, "rows": [[text(cell, language) for cell in row] for row in table_rows]}
        case Commands(lines):
            return {"lines": list(lines)}
        case Bars(bars):
            return {"bars": [_plain_bar(bar, language) for bar in bars]}
        case Whiskers(title, whiskers):
            drawn = [{**one._asdict(), "name": text(one.name, language)} for one in whiskers]
            return {"title": title.said(language), "rows": drawn}
        case Plot(title, x, y, dots, line):
            axes = {"x": spoken(x.name, language), "y": spoken(y.name, language)}
            points = [one._asdict() for one in dots]
            return {"title": title.said(language), **axes, "dots": points, "line": [list(at) for at in line]}
        case Strands(title, columns, strands):
            names = [spoken(axis.name, language) for axis in columns]
            return {"title": title.said(language), "axes": names, "rows": [one._asdict() for one in strands]}


def _plain_bar(bar: Bar, language: Language) -> dict[str, Any]:
    return {"name": text(bar.name, language), "share": bar.share, "note": text(bar.note, language)}


def _plain_pairs(rows: tuple[tuple[Cell, Cell], ...], language: Language) -> list[dict[str, str]]:
    return [{"name": text(name, language), "value": text(value, language)} for name, value in rows]
