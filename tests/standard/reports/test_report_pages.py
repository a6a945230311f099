"""What holds for every report: two whole languages, three forms, the same text for the same input, honest gaps."""

from __future__ import annotations

import html.parser
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from report_rig import AT, drawn, empty, in_chinese, rich

from guideway.core.errors import SpecError
from guideway.standard.clauses import laws
from guideway.standard.reports import REPORTS, render
from guideway.standard.reports.page import Page
from guideway.standard.reports.parts import law
from guideway.standard.reports.words import Words

ENGLISH = re.compile(r"[A-Za-z]+(?: [a-z]+){2,}")
CHINESE = re.compile("[\u4e00-\u9fff]")
GAP, CODE = re.compile(r"{\w+}"), re.compile(r"`[^`]*`")
KINDS = tuple(REPORTS)
DOSSIERS = {"rich": rich, "empty": empty, "chinese": in_chinese}


def words_in(value: Any) -> Iterator[Words]:
    """All words in a page, those that fill gaps too."""
    if isinstance(value, Words):
        yield value
        yield from words_in(tuple(value.gaps.values()))
    elif isinstance(value, Page):
        yield from words_in((value.title, value.facts, value.blocks))
    elif isinstance(value, tuple):
        for one in value:
            yield from words_in(one)


def bare(template: str) -> str:
    """A template without its gaps and its code."""
    return GAP.sub("", CODE.sub("", template))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dossier", DOSSIERS)
def test_every_text_of_ours_is_there_in_both_languages(kind, dossier):
    found = list(words_in(REPORTS[kind].page(drawn(DOSSIERS[dossier]()))))
    assert len(found) > 20
    for words in found:
        assert not CHINESE.search(bare(words.en)), words.en
        assert not ENGLISH.search(bare(words.zh)), words.zh
        assert set(GAP.findall(words.en)) == set(GAP.findall(words.zh)) or words.gaps.keys() == {"en", "zh"}, words.en
        assert sorted(CODE.findall(words.en)) == sorted(CODE.findall(words.zh)), words.en


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["md", "html"])
@pytest.mark.parametrize("dossier", ["chinese", "empty"])
def test_no_english_sentence_is_left_in_a_chinese_report(kind, form, dossier):
    text = render(kind, drawn(DOSSIERS[dossier]()), language="zh", form=form)
    text = text[text.index("<body>") :] if form == "html" else re.sub(r"(?s)^---.*?---\n", "", text)
    text = re.sub(r"<[^>]*>", " | ", text) if form == "html" else text
    left = [found for found in ENGLISH.findall(text) if not found.startswith("guideway ")]
    assert left == []
    assert len(CHINESE.findall(text)) > 100


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("form", ["md", "html", "json"])
def test_the_same_input_gives_the_same_text(kind, language, form):
    first, second = (render(kind, drawn(rich()), language=language, form=form) for _ in range(2))
    assert first == second
    assert first.endswith("\n")


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_proofs_changes_nothing(kind):
    dossier = rich()
    turned = msgspec.structs.replace(dossier, proofs=tuple(reversed(dossier.proofs)))
    texts = {render(kind, drawn(one), language="en", form="md") for one in (dossier, turned)}
    assert len(texts) == 1


@pytest.mark.parametrize("kind", ["card", "transparency", "annex-iv", "aibom"])
@pytest.mark.parametrize(("language", "said"), [("en", "No evidence."), ("zh", "没有证据。")])
@pytest.mark.parametrize("form", ["md", "html"])
def test_what_has_no_evidence_says_so(kind, language, said, form):
    assert render(kind, drawn(empty()), language=language, form=form).count(said) >= 3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["release", "documents", "subjects", "proofs", "steps", "spec"])
def test_a_dossier_may_lack_any_of_its_parts(kind, missing):
    lacking = {"release": None, "proofs": ()}.get(missing, {})
    dossier = msgspec.structs.replace(rich(), **{missing: lacking})
    for language in ("en", "zh"):
        assert "librarian" in render(kind, drawn(dossier), language=language, form="html")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("language", "lang"), [("en", "en"), ("zh", "zh-CN")])
def test_html_is_one_well_formed_file_without_scripts_and_links_to_elsewhere(kind, language, lang):
    text = render(kind, drawn(rich()), language=language, form="html")
    assert text.startswith(f'<!doctype html>\n<html lang="{lang}">')
    seen = Seen()
    seen.feed(text)
    assert seen.open == []
    assert not {"script", "iframe", "img", "link", "object", "form"} & seen.tags
    assert all(target.startswith("#part-") for target in seen.targets)
    assert {target[1:] for target in seen.targets} <= seen.ids
    for wanted in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem", "width=device-width"):
        assert wanted in text


class Seen(html.parser.HTMLParser):
    """Tags that are open, and what was linked."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.targets: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        found = dict(attributes)
        self.targets += [found[name] for name in ("href", "src") if name in found]
        self.ids |= {found["id"]} if "id" in found else set()
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", ["card", "transparency", "annex-iv"])
def test_machines_get_the_same_text_as_json(kind):
    found = json.loads(render(kind, drawn(rich()), language="zh", form="json"))
    assert found["language"] == "zh"
    assert {"title", "about", "blocks"} <= found.keys()
    assert "facts" in {block["block"] for block in found["blocks"]}


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head(kind):
    for block in re.findall(r"(?m)(?:^\|.*\n)+", render(kind, drawn(rich()), language="en", form="md")):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_the_head_says_which_release_and_when_it_was_drawn():
    text = render("card", drawn(rich()), language="en", form="md")
    assert "| Release | `librarian:3` |" in text
    assert "| Drawn | 2025-11-24 |" in text
    assert "2025-11-26" in render("card", drawn(rich(), at=AT + 2 * 86400), language="en", form="md")


def test_a_report_that_is_not_there_is_an_error_with_advice():
    with pytest.raises(SpecError, match=r"there is no report called 'cart' .did you mean 'card'"):
        render("cart", drawn(rich()), language="en", form="md")


def test_every_law_has_a_chinese_title():
    for key in laws():
        found = law(key)
        assert found["law"].said("zh") and found["text"].said("zh")
