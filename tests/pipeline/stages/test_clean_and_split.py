"""Cleaning and splitting, for any input at all."""

from __future__ import annotations

import unicodedata
from collections import defaultdict

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.spec import Data, Source, Split
from guideway.pipeline.stages.data.clean import clean_row, clean_text, same
from guideway.pipeline.stages.data.split import TRAIN, assign, draw

any_text = st.text(st.characters(exclude_categories=[]))
groups = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), min_size=1, max_size=60)
SPLITS = {"held": Split(by=("topic",), share=0.3), "odd": Split(by=("number",), values=("3", "7"))}


@given(any_text)
def test_cleaning_twice_changes_nothing_more(text):
    assert clean_text(clean_text(text)) == clean_text(text)


@given(any_text)
def test_clean_text_can_be_written_and_holds_no_control_character(text):
    clean = clean_text(text)
    clean.encode("utf-8")
    assert not [char for char in clean if unicodedata.category(char) == "Cc" and char not in "\n\t"]
    assert unicodedata.is_normalized("NFC", clean)


@given(any_text)
def test_no_line_of_clean_text_ends_with_a_space(text):
    assert not [line for line in clean_text(text).split("\n") if line != line.rstrip()]


@given(st.text(st.characters(categories=["L", "N", "P"]), min_size=1))
def test_cleaning_keeps_letters_numbers_and_marks(text):
    assert clean_text(text) == unicodedata.normalize("NFC", text)


@given(any_text, st.text(" \t\n", min_size=1))
def test_case_and_white_space_make_no_difference_to_what_is_the_same(text, space):
    assert same(text.replace(" ", space)) == same(text)


@given(any_text.filter(lambda text: clean_text(text).strip()), st.dictionaries(any_text, any_text | st.integers()))
def test_any_row_that_says_something_can_be_written(text, fields):
    data = Data(sources=(Source("a"),))
    row = clean_row({**fields, "prompt": text, "response": text}, data, "chat") if "messages" not in fields else None
    assert row is None or msgspec.json.encode(row.fields)


@given(groups, st.integers())
def test_whole_groups_go_to_one_side(rows, seed):
    places = defaultdict(set)
    for topic, number in rows:
        name, _ = assign({"held": SPLITS["held"]}, {"topic": topic, "number": number}, "x", seed)
        places[topic].add(name)
    assert all(len(names) == 1 for names in places.values())


@given(groups, st.randoms())
def test_neither_order_nor_neighbours_change_where_a_row_goes(rows, order):
    def placed(some):
        return {row: assign(SPLITS, {"topic": row[0], "number": row[1]}, "x", 7)[0] for row in some}

    whole = placed(rows)
    order.shuffle(rows)
    half = rows[: len(rows) // 2]
    assert placed(rows) == whole
    assert placed(half) == {row: whole[row] for row in half}


@given(groups)
def test_the_first_split_that_matches_takes_the_row(rows):
    for topic, number in rows:
        fields = {"topic": topic, "number": number}
        name, group = assign(SPLITS, fields, "x", 7)
        first = "held" if draw(7, "held", (topic,)) < 0.3 else "odd" if number in (3, 7) else TRAIN
        assert (name, group is None) == (first, first == TRAIN)


def test_a_split_takes_about_its_share_and_another_seed_takes_others():
    def taken(seed):
        return {n for n in range(2000) if assign({"t": Split(share=0.1)}, {}, f"row {n}", seed)[0] == "t"}

    assert 150 < len(taken(1)) < 250
    assert len(taken(1) & taken(2)) < 60


def test_a_row_without_the_field_is_left_to_the_next_split():
    splits = {"a": Split(by=("topic",), share=1.0), "b": Split(share=1.0)}
    assert assign(splits, {"number": 1}, "x", 7)[0] == "b"
    assert assign(splits, {"topic": None}, "x", 7)[0] == "b"
