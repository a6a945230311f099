"""Damaged prompts and slices: what is lost, row by row, and which slice falls below its floor."""

from __future__ import annotations

import random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.spec.evaluate import Kind, Slices
from guideway.pipeline.stages.evaluate.ask import halves
from guideway.pipeline.stages.evaluate.further import cost_of
from guideway.pipeline.stages.evaluate.perturb import KINDS, perturbed
from guideway.pipeline.stages.evaluate.robust import damaged, in_turns, robustness
from guideway.pipeline.stages.evaluate.slices import slices_of

SENTENCE = "please tell me which colour the morning sky has in late autumn"


def test_the_spec_names_exactly_the_kinds_that_there_are():
    assert set(get_args(Kind)) == set(KINDS)


@given(st.text(min_size=1), st.sampled_from(sorted(KINDS)), st.integers())
def test_damage_is_the_same_for_the_same_seed_and_leaves_something(text, kind, seed):
    assert perturbed(text, kind, seed) == perturbed(text, kind, seed)
    assert perturbed(text, kind, seed)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_changes_a_sentence(kind):
    assert perturbed(SENTENCE, kind, 7) != SENTENCE


def test_typing_errors_are_few_and_spare_everything_else():
    hurt = perturbed(SENTENCE, "typos", 7)
    assert abs(len(hurt) - len(SENTENCE)) <= 3
    assert hurt.count(" ") == SENTENCE.count(" ")


def test_look_alikes_look_alike_and_are_others():
    hurt = perturbed(SENTENCE, "homoglyphs", 7)
    changed = [(old, new) for old, new in zip(SENTENCE, hurt, strict=True) if old != new]
    assert len(changed) == len(SENTENCE) // 20
    assert all(new > "\u0400" for _, new in changed)


def test_a_text_without_latin_letters_gets_an_invisible_one():
    assert perturbed("天空是什么颜色", "homoglyphs", 7).replace("\u200b", "") == "天空是什么颜色"


def test_truncation_takes_a_tenth_and_noise_stands_before():
    assert perturbed("a" * 50, "truncation", 7) == "a" * 45
    assert perturbed(SENTENCE, "noise", 7).endswith(" " + SENTENCE)


def test_only_what_the_user_said_last_is_damaged():
    talk = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "hello there"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": SENTENCE},
        {"role": "assistant", "content": "blue"},
    ]
    row = {"id": "a", "messages": talk}
    hurt = damaged(row, "capitals", 7)["messages"]
    assert hurt[3]["content"] == SENTENCE.upper()
    assert [one for at, one in enumerate(hurt) if at != 3] == [one for at, one in enumerate(talk) if at != 3]
    assert row["messages"][3]["content"] == SENTENCE


def test_of_a_text_only_the_beginning_is_damaged():
    row = {"text": SENTENCE}
    given, rest = halves(row)
    hurt = damaged(row, "capitals", 7)
    assert given + rest == SENTENCE
    assert halves(hurt) == (given.upper(), rest)


def test_the_drop_is_measured_row_by_row():
    rows = [{"text": f"{number} {SENTENCE}"} for number in range(40)]

    def score(asked):
        return [0.5 if "given" in row and row["given"].isupper() else 1.0 for row in asked]

    found = robustness(score, rows, ["capitals"], about="compress", seed=7, say=lambda _: None)
    ((kind, drop),) = found.drops
    assert (kind, drop.value, drop.n) == ("capitals", 0.5, 40)
    assert (drop.interval.low, drop.interval.high) == (0.5, 0.5)
    assert cost_of(found, "exact match") == (
        "damaged prompts cost 50.0 points of exact match at most (capitals: 100.0% to 50.0%)"
    )


def test_damage_that_takes_nothing_costs_nothing():
    found = robustness(lambda asked: [0.25] * len(asked), [{"text": SENTENCE}], ["noise"], about="x", seed=7, say=print)
    assert found.drops[0][1].value == 0.0
    assert cost_of(found, "foreseen tokens") == "damaged prompts cost nothing of foreseen tokens (25.0%)"


def test_every_split_has_its_say():
    assert in_turns([[{"id": 1}, {"id": 2}, {"id": 3}], [{"id": 4}]], 3) == [{"id": 1}, {"id": 4}, {"id": 2}]


def test_a_slice_below_its_floor_is_seen_and_a_small_one_is_not_judged():
    rows = [{"fields": {"topic": "a"}}] * 30 + [{"fields": {"topic": "b"}}] * 30 + [{"fields": {"topic": "c"}}] * 5
    rows += [{"fields": {}}]
    scores = [1.0] * 20 + [0.0] * 10 + [1.0] * 30 + [0.0] * 5 + [0.0]
    found = {one.name: one for one in slices_of(rows, scores, Slices(by="topic", floor=0.7), seed=7)}
    assert {name: (one.judged, one.kept) for name, one in found.items()} == {
        "topic=a": (True, False),
        "topic=b": (True, True),
        "topic=c": (False, False),
    }
    assert found["topic=a"].score == pytest.approx(2 / 3)
    assert found["topic=a"].interval.low < 2 / 3 < found["topic=a"].interval.high


def test_the_draw_is_an_argument():
    assert KINDS["typos"](SENTENCE, random.Random(1)) != KINDS["typos"](SENTENCE, random.Random(2))
