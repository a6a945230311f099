"""HTML: a page as one file that needs nothing else. No script, no link but to its own headings, everything escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from guideway.standard.reports.clean import clean
from guideway.standard.reports.page import (
    Bars,
    Block,
    Commands,
    Facts,
    Heading,
    Items,
    Page,
    Paragraph,
    Plot,
    Strands,
    Table,
    Whisker,
    Whiskers,
)
from guideway.standard.reports.plots import plot, strands
from guideway.standard.reports.words import Cell, Language, Run, Words, runs

LANG = {"en": "en", "zh": "zh-CN"}
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CONTENTS = Words("Contents", "目录")
_NUMBER = re.compile(r"[<≤≥]? ?[-+]?[\d.,]+(e[-+]?\d+)? ?[%A-Za-z]{0,5}")
_SHORT = 20
"""Characters of code that are never broken over two lines."""
_ROW, _LEFT, _RIGHT, _WIDTH = 24, 130, 56, 460


def to_html(page: Page, language: Language, drawing: str = "") -> str:
    """*page* in one language, as a whole document; *drawing* is SVG for its end, for which the caller answers."""
    title = html.escape(clean(page.title.said(language)))
    headings = [block for block in page.blocks if isinstance(block, Heading) and block.level == 2]
    numbers = {id(heading): number for number, heading in enumerate(headings, 1)}
    body = "\n".join(_block(block, language, numbers) for block in page.blocks)
    return (
        f'<!doctype html>\n<html lang="{LANG[language]}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n<title>{title}</title>\n<style>\n{_style()}</style>\n</head>\n'
        f"<body>\n<main>\n<header>\n<h1>{title}</h1>\n{_pairs(page.facts, language)}\n</header>\n"
        f"{_contents(headings, language)}{body}\n{drawing}</main>\n</body>\n</html>\n"
    )


@cache
def _style() -> str:
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def _contents(headings: list[Heading], language: Language) -> str:
    if len(headings) < 4:
        return ""
    links = [
        f'<a href="#part-{number}">{_inline(heading.text, language)}</a>' for number, heading in enumerate(headings, 1)
    ]
    return f'<nav aria-label="{CONTENTS.said(language)}">\n' + "\n".join(links) + "\n</nav>\n"


def _inline(cell: Cell, language: Language) -> str:
    return "".join(_run(run) for run in runs(cell, language))


def _run(run: Run) -> str:
    lead = " " if run.text[:1].isspace() else ""
    tail = " " if run.text[-1:].isspace() and run.text.strip() else ""
    text = html.escape(clean(run.text))
    match run.style:
        case "plain":
            return lead + text + tail
        case "code":
            kind = ' class="short"' if len(run.text) <= _SHORT else ""
            return f"{lead}<code{kind}>{text}</code>{tail}"
        case "strong":
            return f"{lead}<strong>{text}</strong>{tail}"
        case style:
            return f'{lead}<span class="{style}">{text}</span>{tail}'


def _block(block: Block, language: Language, numbers: dict[int, int]) -> str:
    match block:
        case Heading(level, words):
            anchor = f' id="part-{numbers[id(block)]}"' if id(block) in numbers else ""
            return f"<h{level}{anchor}>{_inline(words, language)}</h{level}>"
        case Paragraph(cell):
            return f"<p>{_inline(cell, language)}</p>"
        case Items(cells):
            return "<ul>\n" + "\n".join(f"<li>{_inline(cell, language)}</li>" for cell in cells) + "\n</ul>"
        case Facts(rows):
            return _pairs(rows, language)
        case Table():
            return _table(block, language)
        case Commands(lines):
            return "<pre><code>" + "\n".join(html.escape(clean(line)) for line in lines) + "</code></pre>"
        case Bars():
            return _bars(block, language)
        case Whiskers():
            return _whiskers(block, language)
        case Plot():
            return plot(block, language)
        case Strands():
            return strands(block, language)


def _pairs(rows: Iterable[tuple[Cell, Cell]], language: Language) -> str:
    lines = [f"<dt>{_inline(name, language)}</dt><dd>{_inline(value, language)}</dd>" for name, value in rows]
    return "<dl>\n" + "\n".join(lines) + "\n</dl>" if lines else ""


def _table(table: Table, language: Language) -> str:
    if not table.rows:
        return ""
    head = "".join(f'<th scope="col">{_inline(column, language)}</th>' for column in table.columns)
    rows = ["".join(_data(cell, language) for cell in row) for row in table.rows]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    kind = ' class="many"' if len(table.columns) > 4 else ""
    return f'<div class="wide"><table{kind}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _data(cell: Cell, language: Language) -> str:
    plain = "".join(run.text for run in runs(cell, language))
    kind = ' class="number"' if _NUMBER.fullmatch(plain) else ""
    return f"<td{kind}>{_inline(cell, language)}</td>"


def _bars(bars: Bars, language: Language) -> str:
    rows = [
        f"<span>{_inline(bar.name, language)}</span>"
        f'<span class="track"><i style="width:{max(0.0, min(bar.share, 1.0)):.1%}"></i></span>'
        f'<span class="note">{bar.share:.0%} · {_inline(bar.note, language)}</span>'
        for bar in bars.rows
    ]
    return '<div class="bars">\n' + "\n".join(rows) + "\n</div>"


def _whiskers(block: Whiskers, language: Language) -> str:
    """Intervals on one axis, as a drawing of lines and dots."""
    ends = [end for one in block.rows for end in (one.low, one.high, one.value, one.against) if end is not None]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
    low, high = low - room, high + room

    def across(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    rows = [_whisker(one, _ROW * number, across, language) for number, one in enumerate(block.rows)]
    height = _ROW * len(block.rows) + 4
    title = html.escape(clean(block.title.said(language)))
    return (
        f'<figure>\n<figcaption>{title}</figcaption>\n<svg viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{title}">\n' + "\n".join(rows) + "\n</svg>\n</figure>"
    )


def _whisker(one: Whisker, top: float, across: Callable[[float], float], language: Language) -> str:
    middle, name = top + _ROW / 2, html.escape(_short("".join(run.text for run in runs(one.name, language))))
    drawn = [
        f'<text class="soft" x="0" y="{middle + 4:.0f}">{name}</text>',
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{middle}" y2="{middle}"/>',
        f'<line class="range" x1="{across(one.low):.1f}" x2="{across(one.high):.1f}" y1="{middle}" y2="{middle}"/>',
        f'<circle class="dot" cx="{across(one.value):.1f}" cy="{middle}" r="4"/>',
        f'<text x="{_WIDTH - _RIGHT + 12}" y="{middle + 4:.0f}">{one.value:.4g}</text>',
    ]
    if one.against is not None:
        x = f"{across(one.against):.1f}"
        drawn.append(f'<line class="against" x1="{x}" x2="{x}" y1="{top + 5}" y2="{top + _ROW - 5}"/>')
    return "".join(drawn)


def _short(name: str) -> str:
    """What fits beside the drawing."""
    line = clean(name)
    return line if len(line) <= 20 else f"{line[:19]}…"
