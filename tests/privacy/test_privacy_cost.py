"""What looking for personal data costs on text that was made to be costly, in calls of functions, not in time."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.privacy import checks
from guideway.privacy.detect import find

HOSTILE = {
    "cards": ("4111 1111 1111 1111 ", 4.0),
    "nearly cards": ("4111 1111 1111 1112 ", 1.0),
    "passports": ("E12345678 ", 4.5),
    "digits apart": ("1 ", 0.7),
    "nine digits": ("123456789 ", 4.0),
}


def calls_of(text: str) -> int:
    """How many functions are called to look at *text*."""
    count = 0

    def note(_frame: FrameType, event: str, _value: Any) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        find(text)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_character_of_hostile_text_costs_a_few_calls(kind: str) -> None:
    piece, most = HOSTILE[kind]
    text = piece * (16_000 // len(piece))
    assert calls_of(text) / len(text) <= most


def luhn(digits: str) -> bool:
    """The check digit of cards as it is written down."""
    doubled = [int(one) * (1 + at % 2) for at, one in enumerate(reversed(digits))]
    return sum(one - 9 if one > 9 else one for one in doubled) % 10 == 0


@given(st.text("0123456789", min_size=2, max_size=30), st.data())
def test_the_check_digit_of_every_part_is_told_from_sums(digits: str, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(digits) - 1))
    end = draw.draw(st.integers(start + 1, len(digits)))
    assert checks.luhn_between(checks.luhn_sums(digits), start, end) == luhn(digits[start:end])
    right = next(one for one in "0123456789" if luhn(digits + one))
    assert checks.luhn_between(checks.luhn_sums(digits + right), 0, len(digits) + 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("7 4111 1111 1111 1111 1", ["4111 1111 1111 1111"]),
        ("4111-1111-1111-1111 22", ["4111-1111-1111-1111"]),
        ("4111 1111-1111 1111", []),
        ("4111  1111 1111 1111", []),
        ("card 4111 1111 11111111", ["4111 1111 11111111"]),
        ("4111 1111 11111111", []),
        ("order no. 4111111111111111 or 4111111111111111", ["4111111111111111"]),
        ("1234 " * 20 + "4111 1111 1111 1111", ["4111 1111 1111 1111"]),
    ],
)
def test_groups_that_are_a_card_are_found_among_others(text: str, found: list[str]) -> None:
    assert [text[one.start : one.end] for one in find(text, {"card"})] == found
