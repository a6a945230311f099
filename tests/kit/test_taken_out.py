"""Words that are taken out of a text: none is left, and nested ones cost no more than others."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.kit.taken_out import Words

WORDS = ("<|end|>", "<|user|>", "|>", "ab")


@pytest.mark.parametrize(
    ("text", "left"),
    [("plain", "plain"), ("a<|end|>b", ""), ("x<|e<|user|>nd|>y", "xy"), ("aabb", ""), ("<|end", "<|end"), ("", "")],
)
def test_words_go_and_so_do_those_that_this_puts_together(text: str, left: str) -> None:
    assert Words(WORDS).out_of(text) == left


@given(st.lists(st.sampled_from([*WORDS, "<|", "end", "|", ">", "a", "b", " ", "é"])).map("".join))
def test_no_word_is_ever_left(text: str) -> None:
    left = Words(WORDS).out_of(text)
    assert not any(word in left for word in WORDS)


def test_words_inside_each_other_cost_no_more_than_others() -> None:
    def seconds(depth: int) -> float:
        begun = time.process_time()
        assert Words(("<|end|>",)).out_of("<|e" * depth + "nd|>" * depth) == ""
        return time.process_time() - begun

    short = min(seconds(2_000) for _ in range(3))
    assert seconds(32_000) < 64 * short  # taken out one layer at a time: 256 times
