"""Words: two languages, gaps, code; what fills a gap is never read as a template."""

from __future__ import annotations

import pytest

from guideway.standard.reports.page import Facts, Heading, Page, plain
from guideway.standard.reports.words import Run, Words, code, missing, pair, runs


def test_backticks_in_a_template_set_code_wherever_they_stand():
    words = Words("run `a` and `b {x}` now", "运行 `a` 和 `b {x}`").fill(x="1")
    assert list(words.runs("en")) == [
        Run("run "),
        Run("a", "code"),
        Run(" and "),
        Run("b 1", "code"),
        Run(" now"),
    ]
    assert words.said("zh") == "运行 a 和 b 1"


@pytest.mark.parametrize("filling", ["`code`", "{name}", "{0}", "}{", "%s"])
def test_what_fills_a_gap_opens_nothing(filling):
    words = Words("say {name}", "说 {name}").fill(name=filling)
    assert list(words.runs("en")) == [Run(f"say {filling}")]


def test_words_fill_words_in_their_own_language():
    words = Words("all of {it}", "全部{it}").fill(it=Words("them", "它们"))
    assert (words.said("en"), words.said("zh")) == ("all of them", "全部它们")


def test_a_style_of_words_is_that_of_their_text_and_not_of_their_code():
    styles = [run.style for run in Words("no `x`", "无 `x`", style="missing").runs("en")]
    assert styles == ["missing", "code"]


@pytest.mark.parametrize(("zh", "wanted"), [("中", "中"), ("", "a `b` {c}")])
def test_a_pair_of_others_is_plain_text_and_english_stands_in_for_chinese(zh, wanted):
    assert list(pair("a `b` {c}", zh).runs("zh")) == [Run(wanted)]


def test_what_is_missing_says_how_to_leave_it():
    assert [run.text for run in runs(missing(Words("Do `x`.", "做 `x`。")), "en")] == [
        "No evidence.",
        " ",
        "Do ",
        "x",
        ".",
    ]
    assert [run.text for run in runs(missing(), "zh")] == ["没有证据。"]


def test_a_page_as_plain_values_has_the_text_of_one_language():
    page = Page(
        Words("t", "题"), ((Words("n", "名"), code("v")),), (Heading(2, Words("h", "头")), Facts(((Run("a"), "b"),)))
    )
    assert plain(page, "zh") == {
        "title": "题",
        "language": "zh",
        "about": [{"name": "名", "value": "v"}],
        "blocks": [
            {"block": "heading", "level": 2, "text": "头"},
            {"block": "facts", "facts": [{"name": "a", "value": "b"}]},
        ],
    }
