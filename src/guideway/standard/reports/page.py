"""A page: what a report says, before anybody knows in which language and in which form."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from guideway.standard.reports.words import Cell, Language, Words, runs


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


Block = Heading | Paragraph | Items | Facts | Table | Commands | Bars | Whiskers


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
        case Table(columns, table_rows):
            names = [column.said(language) for column in columns]
            return {"columns": names, "rows": [[text(cell, language) for cell in row] for row in table_rows]}
        case Commands(lines):
            return {"lines": list(lines)}
        case Bars(bars):
            return {"bars": [_plain_bar(bar, language) for bar in bars]}
        case Whiskers(title, whiskers):
            drawn = [{**one._asdict(), "name": text(one.name, language)} for one in whiskers]
            return {"title": title.said(language), "rows": drawn}


def _plain_bar(bar: Bar, language: Language) -> dict[str, Any]:
    return {"name": text(bar.name, language), "share": bar.share, "note": text(bar.note, language)}


def _plain_pairs(rows: tuple[tuple[Cell, Cell], ...], language: Language) -> list[dict[str, str]]:
    return [{"name": text(name, language), "value": text(value, language)} for name, value in rows]
