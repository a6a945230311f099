"""What others wrote, on a line of ours."""

from __future__ import annotations

import pytest

from guideway.kit.printable import printable


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b]0;title\x07\x1b[31mred", "]0;title[31mred"),
        ("one\rtwo\x9b2J\x7f", "onetwo2J"),
        ("exe\u202egpj.\u2066", "exegpj."),
        ("\ufeffname\U000e0041", "name"),
        ("寒山 naïve 👩\u200d🚀", "寒山 naïve 👩\u200d🚀"),
    ],
)
def test_nothing_that_steers_or_turns_is_left_and_all_else_is(written, left):
    assert printable(written) == left
