"""How answers are scored: tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.rollout.likeness import COMPARED, contains, exact, f1, score, words


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ("Paris", "Paris", 1),
        (" paris.\n", "Paris", 1),
        ("“Paris”!", "paris", 1),
        ("Ｐａｒｉｓ", "Paris", 1),
        ("STRASSE", "straße", 1),
        ("cafe\u0301", "café", 1),
        ("two  words", "two words", 1),
        ("北京。", "北京", 1),
        ("-5", "5", 0),
        ("−5", "-5", 1),
        ("−5", "5", 0),
        ("1.5", "15", 0),
        ("It is Paris", "Paris", 0),
        ("", "Paris", 0),
        ("!", "!", 1),
        ("!", "?", 0),
    ],
)
def test_exact_is_blind_to_case_spaces_width_and_outer_punctuation(answer, expected, value):
    assert exact(answer, expected) == value


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ("The capital is Paris, of course.", "paris", 1),
        ("It has 112 rooms", "12", 0),
        ("It has 12 rooms", "12", 1),
        ("It is -12 degrees", "12", 0),
        ("1.5 metres", "1", 0),
        ("about 1.5.", "1.5", 1),
        ("category", "cat", 0),
        ("New  York-City", "new york", 1),
        ("New and York", "new york", 0),
        ("中国的首都是北京。", "北京", 1),
        ("中国的首都是南京。", "北京", 0),
        ("thumbs 👍 up", "👍", 1),
        ("thumbs up", "👍", 0),
        ("", "x", 0),
    ],
)
def test_contains_looks_for_whole_words_in_one_run(answer, expected, value):
    assert contains(answer, expected) == value


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("the cat", "the cat sat", 0.8),
        ("a b c d", "a b", 2 / 3),
        ("no no no", "no", 0.5),
        ("我爱北京", "我爱上海", 0.5),
        ("東京タワー", "東京", 4 / 7),
        ("กขค", "กข", 0.8),
        ("서울 시", "서울", 2 / 3),
        ("dog", "cat", 0.0),
        ("", "cat", 0.0),
        ("👍", "👍", 1.0),
    ],
)
def test_f1_weighs_words_in_common_and_characters_where_there_are_no_spaces(answer, expected, value):
    assert f1(answer, expected) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It's 2,000.50, or -5 (3-5).", ["it", "s", "2,000.50", "or", "-5", "3", "5"]),
        ("用Python写", ["用", "python", "写"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("...", []),
    ],
)
def test_what_a_word_is(text, found):
    assert words(text) == found


def test_the_best_of_several_right_answers_counts():
    assert score("exact", "London", ["Paris", "London"]) == 1.0
    assert score("f1", "in London", ["Paris", "London"]) == pytest.approx(2 / 3)


@given(st.text(), st.text())
def test_scores_lie_between_none_and_all_and_what_is_the_same_has_all(one, other):
    for kind in ("exact", "contains", "f1"):
        assert 0.0 <= score(kind, one, [other]) <= 1.0
        assert score(kind, one, [one]) == 1.0
    assert f1(one, other) == pytest.approx(f1(other, one))


def test_of_a_very_long_answer_the_beginning_is_compared():
    long = "a b " * COMPARED
    assert len(words(long)) == COMPARED // 2
    assert len(words("\ufdfa" * COMPARED)) < COMPARED  # one letter that becomes eighteen
    assert contains("x y " + long, "x y") == 1
    assert contains(long + "x y", "x y") == 0
    assert f1(long, "a b " * (COMPARED // 4)) == 1
    assert exact("a" * COMPARED + "\n" * 9, "a" * COMPARED) == 1
    assert exact("a" * (COMPARED + 1), "a" * COMPARED) == 0
