"""The page of the ML Test Score: which clause proves which item, and which items nobody can prove."""

from __future__ import annotations

import json

import pytest
from report_rig import drawn, empty, rich

from guideway.standard.reports import render


def page(dossier, language="en"):
    return render("ml-test-score", drawn(dossier), language=language, form="md")


@pytest.mark.parametrize(
    "row",
    [
        "| `data-1` | What each field may hold is written down in a schema | 1 | `DAT-02` by a tool |",
        "| `infra-2` | What makes the model has unit tests | 0.5 | `TRN-05` by hand |",
        "| `data-5` | The way of the data protects the people in it | 0 | would be proven by `DAT-04` |",
        "| `data-2` | Every input earns its place: without it the model is worse | 0 | *no clause proves this item* |",
        "| ML Test Score | **1 / 7** |",
        "## Tests for data: 1.5",
    ],
)
def test_every_item_says_who_proves_it(row):
    assert row in page(rich())


def test_an_empty_dossier_scores_nothing():
    text = page(empty(), "zh")
    assert "| ML Test Score | **0 / 7** |" in text
    assert "（工具）" not in text.split("## MLOps")[0].split("## 数据测试")[1]


def test_machines_get_points_and_clauses():
    found = json.loads(render("ml-test-score", drawn(rich()), language="zh", form="json"))
    assert found["score"] == min(section["points"] for section in found["sections"].values()) == 1.0
    first = found["sections"]["data"]["items"][0]
    assert first == {"id": "data-1", "points": 1.0, "clauses": ["DAT-02"], "proven_by": ["DAT-02"]}
    assert found["mlops"] == {"level": 0, "lacking_for_next": ["TRN-02", "OPS-01", "OPS-06"]}


def test_the_page_says_what_is_not_drawn_and_whose_reading_the_levels_are():
    text = page(rich())
    assert "which clause stands for which sentence is our reading" in text
    assert "five levels of maturity are not drawn" in text
