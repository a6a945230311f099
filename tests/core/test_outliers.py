"""The reference of ordinary prompts: its scores, its file, and what it says of prompts that come together."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from outlier_prompts import STRANGE, ordinary

from guideway.core.outliers import (
    CLASSES,
    LENGTHS,
    LOOKED_AT,
    is_beyond,
    pieces_of,
    read_reference,
    strangest,
    write_reference,
)
from guideway.pipeline.stages.reference.learn import learnt, looked_at

PROMPTS = looked_at(ordinary(1500))
FILE = learnt(PROMPTS[500:], PROMPTS[:500])
REFERENCE = read_reference(FILE)


def share(text: str) -> float:
    return REFERENCE.share(pieces_of(text))


def test_one_ordinary_prompt_in_twenty_is_among_the_most_unusual_twentieth():
    fresh = [share(text) for text in ordinary(1500, seed=8)]
    assert 0.02 < sum(is_beyond(one, 0.95) for one in fresh) / len(fresh) < 0.08


@pytest.mark.parametrize("text", STRANGE)
def test_another_script_code_noise_signs_and_great_length_are_beyond_every_ordinary_prompt(text):
    assert share(text) == 1 / (REFERENCE.rows + 1)


def test_each_part_tells_what_it_is_about():
    chinese, long = (REFERENCE.parts(pieces_of(STRANGE[at])) for at in (0, 4))
    assert max(chinese) == chinese[1] and max(long) == long[0]


def test_no_prompt_is_impossible_and_none_breaks_it():
    for text in ("", " ", "\0", "\ud800", "a" * 100_000, "\U0001f600" * 3000, "e\u0301" * 50):
        assert 0.0 < share(text) <= 1.0


@settings(max_examples=40, deadline=None)
@example("\uffff\u0100\ud7ff\ue000 A1.\t")
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_every_character_is_of_one_class(text):
    pieces = pieces_of(text)
    beyond = sum(ord(char) > 0xFFFF for char in text)  # those are two units, of one class each
    assert sum(pieces.characters) == len(text) + beyond and len(pieces.characters) == CLASSES
    assert 0 <= pieces.length < LENGTHS and min(pieces.characters) >= 0


def test_of_a_long_prompt_the_beginning_and_the_end_are_looked_at():
    middle = "please open my account today " * 200
    assert pieces_of("zxqv" + middle).grams != pieces_of(middle).grams != pieces_of(middle + "zxqv").grams
    assert sum(pieces_of(middle).characters) == LOOKED_AT


def test_prompts_that_come_together_are_judged_as_if_each_came_alone():
    plain, strange = ordinary(1)[0], STRANGE[0]
    assert REFERENCE.strangest([]) is None
    assert REFERENCE.strangest([plain]) == share(plain)
    assert REFERENCE.strangest([plain] * 9 + [strange]) == 10 * share(strange)
    assert REFERENCE.strangest([strange] * 9) == share(strange)  # who sends only strange ones hides none of them
    assert REFERENCE.strangest([plain] * 500) == share(plain)


@given(st.lists(st.integers(1, 1000).map(lambda rank: rank / 1000), min_size=1, max_size=30))
def test_together_texts_are_never_stranger_than_the_strangest_nor_less_strange_than_all(shares):
    together = strangest(shares)
    assert min(shares) <= together + 1e-12 and together <= min(max(shares), min(shares) * len(shares), 1.0) + 1e-12


def test_of_ordinary_texts_that_come_together_no_more_are_strange_than_the_bound_says():
    draw = random.Random(7)
    hits = 0
    for _ in range(4000):
        held = sorted(draw.random() for _ in range(99))
        shares = [(1 + sum(one >= each for one in held)) / 100 for each in (draw.random() for _ in range(5))]
        hits += is_beyond(strangest(shares), 0.95)
    assert hits / 4000 < 0.06


def test_shares_are_beyond_a_bound_that_they_reach_exactly():
    assert is_beyond(0.001, 0.999) and is_beyond(0.1, 0.9) and not is_beyond(0.0011, 0.999)


def test_a_file_that_is_not_whole_is_refused():
    parts = REFERENCE._tables
    wrong = [b"", FILE[:9], FILE[:-1], FILE[:4000], b"\xff" * 64, FILE.replace(b"outliers.v1", b"outliers.v2")]
    wrong += [FILE.replace(b'"F64"', b'"U8"', 1), write_reference(parts._replace(scale=(0.0, 1.0, 1.0)), [1.0])]
    wrong += [write_reference(parts._replace(lengths=[1.0]), [1.0]), write_reference(parts, [float("nan")])]
    for data in wrong:
        with pytest.raises(ValueError, match="reference"):
            read_reference(data)
    assert read_reference(FILE).rows == 500
