"""What reports of several stages share: figures and texts as machines and people are told them."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest

from guideway.core.evidence import Interval
from guideway.pipeline.stages.reporting import around, cell, figure_table, plain, write_files

AROUND = Interval(0.12345678, 0.5, 0.95, "wilson")


class Figure(NamedTuple):
    metric: str
    value: float
    unit: str
    n: int
    interval: Interval


@pytest.mark.parametrize(
    ("text", "most", "end", "said"),
    [
        ("a" * 80, 80, "...", "a" * 80),
        ("a" * 81, 80, "...", "a" * 77 + "..."),
        ("a" * 161, 160, "…", "a" * 159 + "…"),
        ("a" * 500, None, "...", "a" * 500),
        (" two\n lines\t", 80, "...", "two lines"),
        ("a|b", 80, "...", "a\\|b"),
        ("|" * 81, 80, "...", "\\|" * 77 + "..."),  # what is escaped counts once
        ("", 80, "...", ""),
    ],
)
def test_a_text_is_one_cell_of_a_table_whatever_is_in_it(text, most, end, said):
    assert cell(text, most, end) == said


def test_a_table_names_the_model_and_says_a_unit_only_where_there_is_one():
    found = [("train", Figure("loss", 1.23456, "nats", 7, AROUND)), ("compress", Figure("f1", 0.5, "", 8, AROUND))]
    assert figure_table(found)[2:] == [
        "| loss | trained | 1.235 nats | 0.1235 to 0.5 | 7 |",
        "| f1 | compressed | 0.5 | 0.1235 to 0.5 | 8 |",
    ]
    assert around(AROUND) == "0.1235 to 0.5"


def test_a_figure_for_machines_has_all_fields_and_both_ends_in_full():
    said = plain(Figure("loss", 1.5, "nats", 7, AROUND))
    assert said["interval"] == {"low": 0.12345678, "high": 0.5, "level": 0.95, "method": "wilson"}
    assert {name: said[name] for name in ("metric", "value", "unit", "n")} == {
        "metric": "loss",
        "value": 1.5,
        "unit": "nats",
        "n": 7,
    }


def test_the_same_report_is_the_same_bytes_and_every_page_ends_with_a_line(tmp_path):
    write_files(tmp_path, {"b": 1, "a": "é"}, {"report.md": ["# One", "two"], "report.zh.md": ["# 一"]})
    assert (tmp_path / "report.json").read_bytes() == '{\n "a": "é",\n "b": 1\n}\n'.encode()
    assert json.loads((tmp_path / "report.json").read_bytes()) == {"a": "é", "b": 1}
    assert (tmp_path / "report.md").read_text() == "# One\ntwo\n"
    assert (tmp_path / "report.zh.md").read_text("utf-8") == "# 一\n"
