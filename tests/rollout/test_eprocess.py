"""The mixture e-process: it is the formula of the design, a martingale, and safe in every range."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.rollout.eprocess import GRID, SHARES_KEPT, EProcess, log_e, tilted

shares = st.floats(0.001, 0.999)
ratios = st.floats(0.2, 5.0)
events = st.lists(st.tuples(st.sampled_from([0.05, 0.1, 0.25, 0.5]), st.booleans()), max_size=40)


def process_of(seen, tolerated=1.0):
    process = EProcess(tolerated)
    for share, candidate in seen:
        process.add(share, candidate)
    return process


@given(events, st.sampled_from([1.0, 1.1]))
def test_e_is_the_formula_of_the_design(seen, tolerated):
    total = 0.0
    for ratio in GRID:
        delta, product = math.log(ratio), 1.0
        for share, candidate in seen:
            moved = share * tolerated / (1 - share + share * tolerated)
            product *= math.exp(delta * candidate) / (1 - moved + moved * math.exp(delta))
        total += product / 7
    assert process_of(seen, tolerated).log_e == pytest.approx(math.log(total), abs=1e-9)


@given(shares, st.sampled_from([1.0, 1.1, 2.0]))
def test_at_the_tolerated_ratio_the_expected_e_of_an_event_is_one(share, tolerated):
    chance = tilted(share, tolerated)
    one, other = process_of([(share, True)], tolerated), process_of([(share, False)], tolerated)
    assert chance * math.exp(one.log_e) + (1 - chance) * math.exp(other.log_e) == pytest.approx(1.0)


@given(shares, st.floats(0.1, 1.0), st.sampled_from([1.0, 1.1]))
def test_below_the_tolerated_ratio_it_is_at_most_one(share, better, tolerated):
    chance = tilted(share, tolerated * better)
    one, other = process_of([(share, True)], tolerated), process_of([(share, False)], tolerated)
    assert chance * math.exp(one.log_e) + (1 - chance) * math.exp(other.log_e) <= 1.0 + 1e-9


@given(events)
def test_the_tally_is_enough_to_compute_e_again_in_any_order(seen):
    process = process_of(seen, 1.1)
    assert log_e(process.tally, 1.1) == pytest.approx(process.log_e, abs=1e-9)
    assert process_of(reversed(seen), 1.1).tally == process.tally


def test_three_or_four_failures_at_five_percent_are_enough_to_stop_errors():
    process = EProcess()
    for _ in range(4):
        process.add(0.05, True)
    assert process.peak > math.log(200)


def test_what_was_reached_once_stays_reached():
    process = process_of([(0.05, True)] * 5)
    peak = process.peak
    for _ in range(500):
        process.add(0.05, False)
    assert process.log_e < 0.0 < process.peak == peak


def test_no_number_of_events_leaves_what_a_float_holds():
    for candidate in (True, False):
        process = process_of([(0.05, candidate)] * 5000)
        assert all(map(math.isfinite, [process.log_e, process.peak, *process.logs]))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, math.nan])
def test_a_draw_that_was_none_tells_nothing(share):
    process = process_of([(share, True), (share, False)])
    assert process == EProcess()


def test_only_so_many_shares_are_kept_and_known_ones_go_on():
    process = process_of([((at + 1) / 1000, False) for at in range(SHARES_KEPT + 5)])
    assert len(process.tally) == SHARES_KEPT
    process.add(0.001, True)
    assert process.tally[0.001] == (1, 1)
    assert log_e(process.tally, 1.0) == pytest.approx(process.log_e), "what is not kept is not scored either"


@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack])
def test_the_state_survives_being_written(codec):
    process = process_of([(0.05, True), (0.1, False), (0.25, True)], 1.1)
    again = codec.decode(codec.encode(process), type=EProcess)
    assert again == process
    for one in (process, again):
        one.add(0.05, True)
    assert again == process


def test_however_often_one_looks_a_healthy_candidate_is_seldom_stopped():
    dice, crossed, walks = random.Random(7), 0, 400
    for _ in range(walks):
        process = EProcess()
        for at in range(300):
            share = (0.05, 0.1, 0.25, 0.5)[at // 75]
            process.add(share, dice.random() < share)
        crossed += process.peak >= math.log(10)
    assert 0 < crossed / walks <= 0.1, "at E = 10 at most one in ten, and not none: the process does move"
