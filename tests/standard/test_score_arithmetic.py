"""Scores: sums per section, the least of them, half a point for people, nothing for what is waived or open."""

from __future__ import annotations

import re

import pytest

from guideway.core.gate import Judgement, Verdict
from guideway.standard.clauses import Check, Clause, Text, default_clauses
from guideway.standard.scores import (
    MLOPS,
    THEMES,
    by_level,
    by_theme,
    items,
    ml_test_score,
    mlops_level,
    overall,
)

SECTIONS = ("data", "model", "infra", "monitoring")
BOTH = Text(en="a", zh="一")


def clause(id, *scores, themes=(), bite=("inform", "warn", "block")):
    checks = (Check(metric="m", about="data", at_most=0),)
    return Clause(
        id=id,
        en="a",
        zh="一",
        proof=BOTH,
        subject="data",
        when="seal",
        bite=bite,
        themes=themes,
        scores=scores,
        checks=checks,
        do=BOTH,
    )


def judged(id, verdict=Verdict.PASS, **more):
    return Judgement(id, "a", verdict, "", "", **more)


EVERY = [f"{section}-{number}" for section in SECTIONS for number in range(1, 8)]
CLAUSES = [clause(f"C-{item}", item) for item in EVERY]


def points(judgements, clauses=CLAUSES):
    score = ml_test_score(clauses, judgements)
    return {section.name: section.points for section in score.sections}, score.score


def test_there_are_four_sections_of_seven_items_in_two_languages():
    assert tuple(items()) == SECTIONS
    for section in items().values():
        assert len(section.items) == 7
        assert all(one.en and re.search("[\u4e00-\u9fff]", one.zh) for one in section.items)


def test_all_items_proven_by_tools_give_seven():
    sums, score = points([judged(f"C-{item}") for item in EVERY])
    assert sums == dict.fromkeys(SECTIONS, 7.0)
    assert score == 7.0


def test_the_score_is_that_of_the_weakest_section():
    proven = [judged(f"C-{item}") for item in EVERY if item not in ("infra-1", "infra-2", "data-3")]
    sums, score = points(proven)
    assert sums == {"data": 6.0, "model": 7.0, "infra": 5.0, "monitoring": 7.0}
    assert score == 5.0


@pytest.mark.parametrize(
    ("judgement", "wanted"),
    [
        (judged("C-data-1"), 1.0),
        (judged("C-data-1", automatic=False), 0.5),
        (judged("C-data-1", Verdict.FAIL), 0.0),
        (judged("C-data-1", Verdict.UNKNOWN), 0.0),
        (judged("C-data-1", Verdict.UNKNOWN, waived="by li until 2026-01-01: why"), 0.0),
        (judged("C-data-1", waived="by li until 2026-01-01: why"), 0.0),
        (judged("C-other"), 0.0),
    ],
)
def test_what_one_judgement_is_worth(judgement, wanted):
    sums, score = points([judgement])
    assert sums["data"] == wanted
    assert score == 0.0


@pytest.mark.parametrize(("by_a", "by_b", "wanted"), [(True, False, 1.0), (False, False, 0.5), (True, True, 1.0)])
def test_the_best_of_several_proofs_of_an_item_counts_once(by_a, by_b, wanted):
    clauses = [clause("A", "model-5"), clause("B", "model-5")]
    judgements = [judged("A", automatic=by_a), judged("B", automatic=by_b)]
    score = ml_test_score(clauses, judgements)
    item = score.sections[1].items[4]
    assert (item.id, item.points, item.clauses, item.proven_by) == ("model-5", wanted, ("A", "B"), ("A", "B"))


def test_an_item_says_which_clauses_could_prove_it():
    score = ml_test_score(default_clauses(), ())
    named = {item.id: item.clauses for section in score.sections for item in section.items}
    assert named["monitoring-6"] == ("CMP-03", "OPS-05")
    assert named["data-2"] == ()
    assert score.score == 0.0


def test_every_score_that_a_clause_names_is_an_item():
    assert {one for clause in default_clauses() for one in clause.scores} <= set(EVERY)


def test_a_theme_counts_the_clauses_that_apply():
    clauses = [clause("A", themes=(1, 2)), clause("B", themes=(2,)), clause("C", themes=(2,))]
    found = by_theme(clauses, [judged("A"), judged("B", Verdict.UNKNOWN)])
    assert len(found) == len(THEMES) == 20
    assert [(one.proven, one.total, one.share) for one in found[:3]] == [(1, 1, 1.0), (1, 2, 0.5), (0, 0, 0.0)]


def test_a_level_counts_the_clauses_that_block_there():
    clauses = [clause("A", bite=("block", "block", "block")), clause("B")]
    found = by_level(clauses, [judged("A"), judged("B", Verdict.FAIL)])
    assert [(one.name, one.proven, one.total) for one in found] == [("dev", 1, 1), ("staging", 1, 1), ("prod", 1, 2)]
    whole = overall(clauses, [judged("A"), judged("B", Verdict.FAIL)])
    assert (whole.proven, whole.total) == (1, 2)


def test_themes_of_the_standard_are_all_known():
    assert {theme for one in default_clauses() for theme in one.themes} == set(range(1, len(THEMES) + 1))


@pytest.mark.parametrize(
    ("proven", "level", "lacking"),
    [
        ((), 0, MLOPS[0]),
        (MLOPS[0][1:], 0, MLOPS[0][:1]),
        (MLOPS[1], 0, MLOPS[0]),
        (MLOPS[0], 1, MLOPS[1]),
        ((*MLOPS[0], *MLOPS[1][1:]), 1, MLOPS[1][:1]),
        ((*MLOPS[0], *MLOPS[1]), 2, ()),
    ],
)
def test_a_level_of_mlops_needs_all_of_its_clauses(proven, level, lacking):
    assert mlops_level([judged(one) for one in proven]) == (level, lacking)


def test_a_level_of_mlops_counts_no_proof_by_hand():
    assert mlops_level([judged(one, automatic=False) for one in MLOPS[0]]) == (0, MLOPS[0])


def test_clauses_of_the_levels_exist():
    assert {one for level in MLOPS for one in level} <= {one.id for one in default_clauses()}
