"""What a request does to the scores."""

from __future__ import annotations

import numpy as np
import pytest

from guideway.replica.constrain.constraint import Constraint
from guideway.replica.constrain.masks import Tokens
from guideway.replica.steering import Steering

SCORES = np.array([1.0, 2.0, 3.0, 4.0], np.float32)


def test_a_bias_is_added_and_the_scores_of_the_model_stay_as_they_are() -> None:
    before = SCORES.copy()
    assert Steering({0: 5.0, 3: -100.0})(SCORES).tolist() == [6.0, 2.0, 3.0, -96.0]
    assert np.array_equal(SCORES, before)


def test_a_bias_for_a_token_that_the_model_does_not_have_is_passed_over() -> None:
    assert Steering({99: 5.0, 1: 1.0})(SCORES).tolist() == [1.0, 3.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("frequency", "presence", "expected"),
    [(0.5, 0.0, [1.0, 1.5, 3.0, 3.0]), (0.0, 0.5, [1.0, 1.5, 3.0, 3.5]), (-1.0, 0.25, [1.0, 2.75, 3.0, 5.75])],
)
def test_what_was_said_is_taken_off_once_and_for_each_time(
    frequency: float, presence: float, expected: list[float]
) -> None:
    steering = Steering({}, frequency, presence)
    for token in (1, 3, 3):
        steering.push(token)
    assert steering(SCORES).tolist() == expected


def test_a_form_has_the_last_word() -> None:
    letters = [bytes((byte,)) for byte in range(0x20, 0x7F)]
    constraint = Constraint(Tokens(letters), lambda make, values: values.boolean, [])
    steering = Steering({letters.index(b"x"): 100.0, letters.index(b"f"): 1.0}, constraint=constraint)
    said = b""
    while not steering.over:
        token = int(steering(np.zeros(len(letters), np.float32)).argmax())
        steering.push(token)
        said += letters[token]
    assert said.lstrip() == b"false"
