"""From scores to tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from guideway.replica.sampling import Sampler, candidates, choose

SCORES = np.log(np.array([0.05, 0.4, 0.1, 0.3, 0.15], np.float32))


def chosen(**options: float) -> set[int]:
    tokens, _ = candidates(SCORES, **{"temperature": 1.0, "top_p": 1.0, "top_k": 0, **options})
    return {int(token) for token in tokens}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.69}, {1, 3}),
        ({"top_p": 0.71}, {1, 3, 4}),
        ({"top_p": 0.0}, {1}),
        ({"top_k": 3, "top_p": 0.5}, {1, 3}),
        ({"temperature": 0.05, "top_p": 0.9}, {1}),
    ],
)
def test_temperature_then_top_k_then_top_p_choose_who_may_come_next(
    options: dict[str, float], expected: set[int]
) -> None:
    assert chosen(**options) == expected


def test_of_equal_scores_the_smaller_token_is_kept() -> None:
    tokens, shares = candidates(np.zeros(6, np.float32), 1.0, 1.0, 2)
    assert tokens.tolist() == [0, 1]
    assert shares.tolist() == [0.5, 0.5]


QUARTERS = st.integers(-120, 120).map(lambda number: number / 4)
"""Scores that are equal or clearly apart: what differs by less than rounding may fall either way."""


@given(
    hnp.arrays(np.float32, st.integers(1, 60), elements=QUARTERS),
    st.floats(0.05, 2.0),
    st.floats(0.0, 1.0),
    st.integers(0, 70),
)
def test_the_nucleus_is_the_fewest_likeliest_tokens_that_have_the_share(
    logits: np.ndarray, temperature: float, top_p: float, top_k: int
) -> None:
    tokens, shares = candidates(logits, temperature, top_p, top_k)
    wide = logits.astype(np.float64) / temperature
    order = np.argsort(-wide, kind="stable")[: top_k or None]
    all_shares = np.exp(wide[order] - wide.max())
    all_shares /= all_shares.sum()
    before = np.cumsum(all_shares) - all_shares  # what stands before each: a token belongs while this is below top_p
    needed = set(order[before < top_p - 1e-9]) or {order[0]}
    allowed = set(order[before <= top_p + 1e-9])
    assert needed <= set(tokens) <= allowed
    assert shares.sum() == pytest.approx(1.0)


def test_draws_follow_the_shares() -> None:
    sampler = Sampler(1.0, 1.0, 0, seed=11)
    counts = np.bincount([sampler(SCORES) for _ in range(20_000)], minlength=5) / 20_000
    assert np.abs(counts - np.exp(SCORES)).max() < 0.012  # three standard deviations at 0.4


@pytest.mark.parametrize(("draw", "token"), [(0.0, 7), (0.2499, 7), (0.25, 3), (0.9999999, 3)])
def test_a_draw_falls_into_the_slice_of_its_token(draw: float, token: int) -> None:
    assert choose(np.array([7, 3]), np.array([0.25, 0.75]), draw) == token


def test_rounding_at_the_end_of_the_slices_never_leaves_the_vocabulary() -> None:
    assert choose(np.array([4, 9]), np.array([0.5, 0.4999999]), 0.99999999) == 9


@given(st.integers())
def test_the_same_seed_draws_the_same_tokens_and_any_integer_is_a_seed(seed: int) -> None:
    one, other = Sampler(1.5, 0.95, 4, seed), Sampler(1.5, 0.95, 4, seed)
    assert [one(SCORES) for _ in range(8)] == [other(SCORES) for _ in range(8)]


def test_other_seeds_draw_other_tokens() -> None:
    texts = {tuple(sampler(SCORES) for _ in range(12)) for sampler in (Sampler(1.0, 1.0, 0, s) for s in range(20))}
    assert len(texts) > 15


def test_greedy_takes_the_first_best_and_draws_nothing() -> None:
    assert Sampler(0.0, 0.1, 1, seed=1)(np.array([1, 5, 5, 0], np.float32)) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_scores_that_are_no_numbers_are_an_error_and_not_a_token(bad: float, temperature: float) -> None:
    with pytest.raises(FloatingPointError):
        Sampler(temperature, 1.0, 0, 1)(np.full(4, bad, np.float32))


def test_tokens_that_are_ruled_out_are_never_drawn() -> None:
    sampler = Sampler(2.0, 1.0, 0, 3)
    scores = np.array([0.0, -np.inf, 0.0], np.float32)
    assert {sampler(scores) for _ in range(200)} == {0, 2}
