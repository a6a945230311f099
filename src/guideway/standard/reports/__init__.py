"""Reports drawn from evidence, in English and Chinese. What has no evidence says so; nothing is made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from guideway.core.errors import SpecError, did_you_mean
from guideway.standard.reports import aibom, annex_iv, card, ml_test_score, transparency
from guideway.standard.reports.bom_fields import bom_completeness
from guideway.standard.reports.card import card_completeness
from guideway.standard.reports.drawn import Completeness, Drawn
from guideway.standard.reports.html import to_html
from guideway.standard.reports.markdown import to_markdown
from guideway.standard.reports.page import Page, plain
from guideway.standard.reports.words import Language

Form = Literal["md", "html", "json"]


class Report(NamedTuple):
    """How one report is drawn: its page, what stands before it in Markdown, and what machines get instead of it."""

    title: str
    page: Callable[[Drawn], Page]
    front: Callable[[Drawn], str] | None = None
    machine: Callable[[Drawn], str] | None = None
    form: Form = "md"


def _as_json(data: Callable[[Drawn], Any]) -> Callable[[Drawn], str]:
    return lambda drawn: _json(data(drawn))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


REPORTS: Mapping[str, Report] = {
    "card": Report("model card with Hugging Face metadata", card.page, front=card.front_matter),
    "transparency": Report("what people should know, in plain words", transparency.page),
    "annex-iv": Report("technical documentation by annex IV of the EU AI Act", annex_iv.page),
    "ml-test-score": Report("ML Test Score, item by item", ml_test_score.page, machine=_as_json(ml_test_score.data)),
    "aibom": Report("AI bill of materials, CycloneDX 1.6", aibom.page, machine=aibom.cyclonedx, form="json"),
}
"""Every report by name. ``form`` is the one that a reader most likely wants."""


def render(kind: str, drawn: Drawn, *, language: Language, form: Form) -> str:
    """The report *kind* as text; the same input gives the same text.

    Raises:
        SpecError: there is no such report.
        Unavailable: a library that the report needs is not installed.
    """
    report = REPORTS.get(kind)
    if report is None:
        raise SpecError(f"there is no report called '{kind}'", try_this=did_you_mean(kind, REPORTS))
    if form == "html":
        return to_html(report.page(drawn), language)
    if form == "md":
        front = report.front(drawn) if report.front else ""
        return front + to_markdown(report.page(drawn), language)
    return report.machine(drawn) if report.machine else _json(plain(report.page(drawn), language))


__all__ = [
    "REPORTS",
    "Completeness",
    "Drawn",
    "Form",
    "Language",
    "Report",
    "bom_completeness",
    "card_completeness",
    "render",
]
