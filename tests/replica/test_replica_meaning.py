"""Outliers by meaning: distances of what a model makes of texts, and what share of ordinary texts is as far."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load, save

from guideway.core.errors import SpecError
from guideway.replica.meaning import FILE, Meaning, read_meaning

PLAIN = np.eye(2, dtype=np.float32)
CENTRES = np.array([[0, 0], [10, 0]], np.float32)
HELD = np.array([1.0, 2.0, 3.0, 4.0])


@pytest.fixture
def meaning():
    return Meaning(PLAIN, CENTRES, HELD)


def test_the_distance_is_that_to_the_nearest_class(meaning):
    asked = np.array([[0, 0], [3, 4], [10, 2], [6, 0]], np.float32)
    assert meaning.distances(asked).tolist() == [0.0, 5.0, 2.0, 4.0]


def test_a_direction_in_which_classes_spread_counts_for_less():
    spread = Meaning(np.diag([0.5, 1.0]).astype(np.float32), CENTRES * 0.5, HELD)
    assert spread.distances(np.array([[4, 0], [0, 4]], np.float32)).tolist() == [2.0, 4.0]


def test_a_share_counts_the_held_out_texts_that_are_as_far_and_the_text_itself(meaning):
    asked = np.array([[0, 0.5], [0, 2], [0, 2.5], [0, 9]], np.float32)
    assert meaning.shares(asked).tolist() == [1.0, 4 / 5, 3 / 5, 1 / 5]


def test_what_is_no_number_is_as_far_as_can_be(meaning):
    assert meaning.shares(np.array([[np.nan, 0], [np.inf, 0]], np.float32)).tolist() == [1 / 5, 1 / 5]


def test_of_ordinary_texts_no_more_are_beyond_a_share_than_it_says():
    draw = np.random.default_rng(3)
    found = Meaning(PLAIN, CENTRES[:1], np.empty(0)).calibrated(draw.normal(size=(999, 2)).astype(np.float32))
    shares = found.shares(draw.normal(size=(20_000, 2)).astype(np.float32))
    for share in (0.5, 0.1, 0.01):
        assert 0.7 * share < (shares <= share).mean() < 1.3 * share


def test_what_is_written_is_read_again_and_the_same_numbers_give_the_same_bytes(meaning, tmp_path):
    meaning.write(tmp_path)
    once, asked = (tmp_path / FILE).read_bytes(), np.array([[3, 4], [9, 9]], np.float32)
    again = read_meaning(tmp_path)
    again.write(tmp_path)
    assert (tmp_path / FILE).read_bytes() == once and again.width == 2
    assert again.shares(asked).tolist() == meaning.shares(asked).tolist()


def spoiled(folder, **parts):
    """The file with *parts* exchanged; None takes one away."""
    whole = load((folder / FILE).read_bytes()) | parts
    (folder / FILE).write_bytes(save({name: part for name, part in whole.items() if part is not None}))


@pytest.mark.parametrize(
    "parts",
    [
        {"centres": None},
        {"more": PLAIN},
        {"centres": CENTRES[:, :1]},
        {"centres": CENTRES[:0]},
        {"whitening": PLAIN[0]},
        {"whitening": PLAIN.astype(np.float64)},
        {"calibration": HELD[::-1].copy()},
        {"calibration": np.array([1.0, np.nan])},
    ],
)
def test_a_file_that_is_not_whole_is_one_clear_line(meaning, tmp_path, parts):
    meaning.write(tmp_path)
    spoiled(tmp_path, **parts)
    with pytest.raises(SpecError, match="is not whole") as refused:
        read_meaning(tmp_path)
    assert refused.value.where == str(tmp_path / FILE)


def test_bytes_that_are_no_such_file_are_one_clear_line(tmp_path):
    (tmp_path / FILE).write_bytes(b"\x00" * 5)
    with pytest.raises(SpecError, match="cannot be read") as refused:
        read_meaning(tmp_path)
    assert "\n" not in str(refused.value)
