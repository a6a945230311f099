"""Markdown: a page as CommonMark with tables. What others wrote can open no link, no image, no tag and no table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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
    Whiskers,
)
from guideway.standard.reports.words import Cell, Language, Run, Words, runs

_MEANT = re.compile(r"([\\`*_\[\]<>|~&$])")
_LINK = re.compile(r"(?i)(?<=[a-z]):(?=//)|(?<=\bwww)\.|(?<=\bmailto):")
_STARTS = re.compile(r"^(?:([#+=-])(?=[\s#+=-]|$)|(\d{1,9})(?=[.)](?:\s|$)))")
_CODE = re.compile(r"[\w./:@=+,…% -]+")
NAME, VALUE = Words("what", "项目"), Words("value", "内容")
SHARE, OF = Words("share", "占比"), Words("of", "说明")
_BLOCKS = 20


def to_markdown(page: Page, language: Language) -> str:
    """*page* in one language; ends with a line break."""
    lines = [f"# {_inline(page.title, language)}", ""]
    if page.facts:
        lines += [*_pairs(page.facts, language), ""]
    for block in page.blocks:
        if written := _block(block, language):
            lines += [*written, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def escape(text: str) -> str:
    """*text* with every character that means something in Markdown made to mean nothing."""
    safe = _LINK.sub(lambda found: "\\" + found[0], _MEANT.sub(r"\\\1", clean(text)))
    return _STARTS.sub(_blunt, safe)


def _blunt(found: re.Match[str]) -> str:
    """A sign that would start a heading or a list, with a backslash where it stands."""
    return f"\\{found[1]}" if found[1] else f"{found[2]}\\"


def _inline(cell: Cell, language: Language) -> str:
    return "".join(_run(run) for run in runs(cell, language))


def _run(run: Run) -> str:
    if not run.text.strip():
        return " " if run.text else ""
    lead = " " if run.text[0].isspace() else ""
    tail = " " if run.text[-1].isspace() else ""
    return lead + _styled(run) + tail


def _styled(run: Run) -> str:
    text = clean(run.text)
    if run.style == "code" and _CODE.fullmatch(text):
        return f"`{text}`"
    safe = escape(text)
    if run.style == "missing":
        return f"*{safe}*"
    return f"**{safe}**" if run.style in ("strong", "good", "bad", "open") else safe


def _block(block: Block, language: Language) -> list[str]:
    match block:
        case Heading(level, words):
            return [f"{'#' * level} {_inline(words, language)}"]
        case Paragraph(cell):
            return [_inline(cell, language)]
        case Items(cells):
            return [f"- {_inline(cell, language)}" for cell in cells]
        case Facts(rows):
            return _pairs(rows, language) if rows else []
        case Table(columns, table_rows):
            return _table(columns, table_rows, language) if table_rows else []
        case Commands(lines):
            return ["```sh", *(clean(line).replace("```", "'''") for line in lines), "```"]
        case Bars(bars):
            shown = [(bar.name, _bar(bar.share), bar.note) for bar in bars]
            return _table((NAME, SHARE, OF), shown, language)
        case Whiskers() | Plot() | Strands():  # the table beside it has the same figures
            return []


def _bar(share: float) -> str:
    full = round(max(0.0, min(share, 1.0)) * _BLOCKS)
    return f"{'█' * full}{'░' * (_BLOCKS - full)} {share:.0%}"


def _pairs(rows: Iterable[tuple[Cell, Cell]], language: Language) -> list[str]:
    return _table((NAME, VALUE), list(rows), language)


def _table(columns: Sequence[Words], rows: Sequence[Sequence[Cell]], language: Language) -> list[str]:
    head = "| " + " | ".join(_inline(column, language) for column in columns) + " |"
    body = ["| " + " | ".join(_inline(cell, language) for cell in row) + " |" for row in rows]
    return [head, "|" + "---|" * len(columns), *body]
