"""The page for the public: plain words, what is not known, and nothing that nobody proved."""

from __future__ import annotations

import pytest
from report_rig import drawn, empty, fact, rich, with_policy

from guideway.core.evidence import Interval
from guideway.standard.reports import render


def page(dossier, language="en"):
    return render("transparency", drawn(dossier), language=language, form="md").replace("\\", "")


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Of 400 questions that it had not seen (`phrasings`), it answered 93 % exactly as expected (with 95 %"),
        ("en", "between 91 % and 95 %). A simple method without a neural network reached 61 % there."),
        ("en", "choose blindly among 2.5 pieces of words"),
        ("en", "at 1.1 % of the places looked at, its first choice changed"),
        ("zh", "在 400 个它没有见过的问题上（`phrasings`），93 % 的回答与期望完全一致"),
        ("zh", "不用神经网络的简单方法达到 61 %"),
    ],
)
def test_figures_are_told_in_plain_words(language, said):
    assert said in page(rich(), language)
    assert said not in page(empty(), language)


def test_a_figure_without_interval_claims_no_confidence():
    proof = fact("exact_match", 0.5, "compress", "share", n=10, slice="a")
    assert "it answered 50 % exactly as expected." in page(rich(proofs=(proof,)))


def test_only_figures_that_are_told_in_words_are_drawn():
    around = Interval(0.1, 0.3, 0.95, "bootstrap")
    found = tuple(fact(metric, 0.2, "compress", slice="a", interval=around) for metric in ("loss", "exact_match"))
    html = render("transparency", drawn(rich(proofs=found)), language="en", form="html")
    assert html.count("<svg") == 1
    assert "answers that match exactly: value and interval<" in html
    assert "value, interval, and the baseline" in render("transparency", drawn(rich()), language="en", form="html")


@pytest.mark.parametrize(
    ("metric", "value", "said"),
    [
        ("unlabelled_share", 0.0, "found every answer labelled"),
        ("unlabelled_share", 0.2, "found answers without a label"),
        ("other", 0.0, "It is not proven that answers are labelled"),
    ],
)
def test_the_label_is_as_proven_as_the_clause_says(metric, value, said):
    assert said in page(rich(proofs=(fact(metric, value, "release"),)))


@pytest.mark.parametrize(
    ("residue", "said"),
    [
        (0.0, "what is left is within the limit"),
        (0.5, "found more personal data than allowed"),
        (None, "It is not proven that the data was searched for personal data."),
    ],
)
def test_personal_data_is_told_as_it_was_found(residue, said):
    found = [fact("legal_basis_named", 1, "data")] + (
        [fact("personal_data_residue", residue, "data")] if residue is not None else []
    )
    assert said in page(rich(proofs=tuple(found)))


def test_erasure_is_claimed_only_where_it_was_tested():
    assert "It is not proven that erasing a person" in page(rich())
    tested = fact("erasure_hits_left", 0, "environment")
    assert "A test showed that erasing a person leaves nothing behind." in page(rich(proofs=(tested,)))


@pytest.mark.parametrize(
    "law", ["General Data Protection Regulation", "个人信息保护法", "EU Artificial Intelligence Act"]
)
def test_rights_are_told_law_by_law_with_whom_to_ask(law):
    text = page(rich())
    assert law in text
    assert "To use them, write to: Library team <ask@example.org>" in text


def test_what_is_not_known_is_listed():
    unknown = page(empty()).split("## What is not known yet")[1]
    assert "Whom to ask: nobody has said." in unknown
    assert "**not proven** Nothing in the release can run" in unknown
    partly = page(with_policy(rich(), limits="")).split("## What is not known yet")[1]
    assert "Limits: nobody has said." in partly
    assert "Whom to ask" not in partly
    assert "**failed** No secret lies in the release" in partly
    assert "Nothing in the release can run" not in partly


def test_people_in_the_data_are_told_of_every_source():
    assert "- data/facts.jsonl: No person is in it." in page(rich())
    assert "Fill in `datasheet.people`" in page(empty())
