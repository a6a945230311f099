"""What is watched fits on the terminal: cut from the end, and it says how much is missing."""

from __future__ import annotations

import pytest

from guideway.cli.fit import Block, fit

HEAD = Block(("a", "b"), 2)
SIGNALS = Block(tuple(f"signal {number}" for number in range(6)), 2, "signals")
REPLICAS = Block(tuple(f"replica {number}" for number in range(5)), 1, "replicas")


def test_what_fits_is_shown_whole():
    assert fit([HEAD, SIGNALS, REPLICAS], 80, 13) == [*HEAD.lines, *SIGNALS.lines, *REPLICAS.lines]


def test_the_last_block_is_cut_first_and_says_how_many_more_there_are():
    shown = fit([HEAD, SIGNALS, REPLICAS], 80, 12)
    assert shown[-4:] == ["replica 0", "replica 1", "replica 2", "… 2 more replicas"] and len(shown) == 12
    shown = fit([HEAD, SIGNALS, REPLICAS], 80, 10)
    assert shown[8:] == ["replica 0", "… 4 more replicas"]


def test_a_block_keeps_its_least_and_the_one_before_it_is_cut():
    shown = fit([HEAD, SIGNALS, REPLICAS], 80, 8)
    assert shown == ["a", "b", "signal 0", "signal 1", "signal 2", "… 3 more signals", "replica 0", "… 4 more replicas"]


@pytest.mark.parametrize("rows", range(1, 20))
def test_nothing_is_ever_taller_than_the_terminal(rows):
    assert len(fit([HEAD, SIGNALS, REPLICAS], 80, rows)) <= rows


def test_a_line_that_is_too_long_takes_several_rows_and_colours_take_none():
    head, tail = Block(("x" * 25, "\x1b[31mred\x1b[0m"), 2), Block(("1", "2", "3", "4", "5"), 1, "x")
    assert len(fit([head, tail], 12, 9)) == 7  # three rows, one, and five
    assert fit([head, tail], 12, 8)[2:] == ["1", "2", "3", "… 2 more x"]
    assert fit([head, tail], 24, 8) == [*head.lines, *tail.lines]


def test_to_say_that_one_line_is_missing_takes_no_place_of_one_that_would_fit():
    assert fit([HEAD, Block(("1", "2"), 1, "replicas")], 80, 4) == ["a", "b", "1", "2"]
