"""Words: one text in both languages, with gaps for what was measured. What fills a gap is never markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from guideway.core.gate import Verdict
from guideway.standard.clauses import Text

Language = Literal["en", "zh"]
Style = Literal["plain", "code", "strong", "missing", "good", "bad", "open"]


class Run(NamedTuple):
    """A piece of text in one style. The text is not trusted: every writer escapes it."""

    text: str
    style: Style = "plain"


class Words(msgspec.Struct, frozen=True):
    """The same in English and Chinese; backticks in a template set code, ``{name}`` is filled from ``gaps``."""

    en: str
    zh: str
    gaps: Mapping[str, Any] = {}
    style: Style = "plain"

    def fill(self, **gaps: Any) -> Words:
        """The same words with their gaps filled; a value may be words itself."""
        return msgspec.structs.replace(self, gaps={**self.gaps, **gaps})

    def runs(self, language: Language) -> Iterator[Run]:
        """The pieces in one language. Gaps are filled piece by piece, so a filling can open no code and no gap."""
        gaps = {name: spoken(value, language) for name, value in self.gaps.items()}
        for number, piece in enumerate((self.en if language == "en" else self.zh).split("`")):
            if piece:
                yield Run(piece.format(**gaps), "code" if number % 2 else self.style)

    def said(self, language: Language) -> str:
        """The plain text in one language."""
        return "".join(run.text for run in self.runs(language))


Piece = str | Run | Words
Cell = Piece | tuple[Piece, ...]
"""What stands in a paragraph or in a cell of a table. A bare string is a value: the same in both languages."""


def runs(cell: Cell, language: Language) -> Iterator[Run]:
    """The pieces of *cell* in one language."""
    for piece in cell if isinstance(cell, tuple) and not isinstance(cell, Run) else (cell,):
        if isinstance(piece, Words):
            yield from piece.runs(language)
        elif isinstance(piece, Run):
            yield piece
        else:
            yield Run(str(piece))


def spoken(value: Any, language: Language) -> str:
    """*value* as plain text in one language."""
    return value.said(language) if isinstance(value, Words) else str(value)


def code(text: str) -> Run:
    """A digest, a name or a command."""
    return Run(text, "code")


def strong(text: str) -> Run:
    """A figure that must be seen."""
    return Run(text, "strong")


def pair(en: str, zh: str) -> Words:
    """Two texts that somebody else wrote: they open no code and have no gaps. Without Chinese the English stands."""
    return Words("{en}", "{zh}", {"en": en, "zh": zh or en})


def both(text: Text) -> Words:
    """A text of the clauses, which a team may have written."""
    return pair(text.en, text.zh)


VERDICTS: Mapping[Verdict, Words] = {
    Verdict.PASS: Words("proven", "已证明", style="good"),
    Verdict.FAIL: Words("failed", "未通过", style="bad"),
    Verdict.UNKNOWN: Words("not proven", "未证明", style="open"),
}
WAIVED = Words("not proven, waived", "未证明，已豁免", style="open")
BITES = {"inform": Words("informs", "提示"), "warn": Words("warns", "警告"), "block": Words("blocks", "阻断")}
NO_EVIDENCE = Words("No evidence.", "没有证据。", style="missing")


def missing(how: Words | None = None) -> Cell:
    """What stands where evidence is missing: that it is, and how to leave it."""
    return NO_EVIDENCE if how is None else (NO_EVIDENCE, " ", how)
