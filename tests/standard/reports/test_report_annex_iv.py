"""Annex IV: every point is there, and its state is that of its fields."""

from __future__ import annotations

import re

import pytest
from report_rig import drawn, empty, fact, rich, with_policy

from guideway.standard.reports import render
from guideway.standard.reports.annex_iv import EMPTY, FILLED, PARTLY, state, summary
from guideway.standard.reports.annex_points import points
from guideway.standard.reports.fields import lacking

IDS = [*(f"1{letter}" for letter in "abcdefgh"), *(f"2{letter}" for letter in "abcdefgh"), *"3456789"]
STATES = {
    "1a": PARTLY,
    "1b": FILLED,
    "1c": FILLED,
    "1d": FILLED,
    "1e": EMPTY,
    "1f": EMPTY,
    "1h": FILLED,
    "2a": FILLED,
    "2d": FILLED,
    "2g": PARTLY,
    "2h": PARTLY,
    "4": PARTLY,
    "7": PARTLY,
    "8": EMPTY,
    "9": EMPTY,
}


def page(dossier, language="en"):
    return render("annex-iv", drawn(dossier), language=language, form="md").replace("\\", "")


def test_every_point_of_the_annex_has_a_section_and_a_row():
    assert [point.id for point in points()] == IDS
    text = page(rich())
    assert all(f"### {one[0]}{f'({one[1]})' if len(one) > 1 else ''} " in text for one in IDS)
    assert len(summary(drawn(rich())).rows) == len(IDS)


@pytest.mark.parametrize(("id", "wanted"), STATES.items())
def test_the_state_of_a_point_follows_from_its_fields(id, wanted):
    point = next(one for one in points() if one.id == id)
    assert state(point, drawn(rich())) is wanted


def test_nothing_is_filled_in_an_empty_dossier():
    assert {state(point, drawn(empty())).en for point in points()} == {"missing"}


@pytest.mark.parametrize("dossier", [rich(), empty()])
def test_what_lacks_is_named_in_its_section_and_in_the_table(dossier):
    told, text = drawn(dossier), page(dossier)
    rows = text.split("## Summary: what is filled")[1]
    for point in points():
        for field in lacking(point.fields, told):
            label = field.label.said("en")
            assert f"| {label} | *No evidence.* " in text
            assert label in rows


@pytest.mark.parametrize(
    ("before", "after", "point"),
    [
        (empty(), with_policy(rich(), intended_use="For tests."), "1a"),
        (rich(), rich(proofs=(*rich().proofs, fact("budgets_exceeded", 0, "release"))), "1e"),
        (rich(), rich(proofs=(*rich().proofs, fact("resource_use_share", 0.5, "train"))), "2c"),
    ],
)
def test_evidence_moves_a_point_up(before, after, point):
    order = [EMPTY.en, PARTLY.en, FILLED.en]
    found = next(one for one in points() if one.id == point)
    assert order.index(state(found, drawn(after)).en) > order.index(state(found, drawn(before)).en)


def test_a_clause_that_failed_is_documented_and_one_without_verdict_is_missing():
    text = page(rich(proofs=(fact("budgets_exceeded", 2, "release"),)))
    assert re.search(r"`CMP-03` \*\*failed\*\*: budgets_exceeded:? 2, limit ≤ 0", text)
    assert "`guideway evidence import … --clause CMP-03` leaves the proof (benchmark on the target)." in page(rich())


def test_what_no_tool_can_know_is_left_to_the_provider():
    declaration = page(rich()).split("### 8 ")[1].split("### 9 ")[0]
    assert "the provider adds it by hand" in declaration


def test_texts_are_listed_with_how_much_of_them_is_proven():
    assert "| SLSA" not in page(rich())
    assert "| Supply-chain Levels for Software Artifacts | v1.0 | 1 of 2 |" in page(rich())
    assert "| 软件制品供应链级别（SLSA） | v1.0 | 1 / 2 |" in page(rich(), "zh")


def test_the_table_of_all_clauses_has_each_of_them_once():
    table = page(rich()).split("## All clauses of the Standard")[1]
    assert all(table.count(f"| `{one.clause}` |") == 1 for one in drawn(rich()).judgements)
