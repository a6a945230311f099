"""A question that was asked before is known, in bounded memory."""

from __future__ import annotations

import hashlib
import sys

from guideway.gateway.seen import KEPT, WORDS, Seen


def key(number):
    return hashlib.sha256(b"%d" % number).digest()


def test_the_second_time_it_was_seen():
    seen = Seen()
    assert [seen.look(key(n)) for n in (1, 2, 1, 2, 3)] == [False, False, True, True, False]


def test_of_new_questions_few_are_taken_for_old_ones_even_when_it_is_full():
    seen = Seen()
    for number in range(2 * KEPT):
        seen.look(key(number))
    assert sum(seen.look(key(number)) for number in range(10**6, 10**6 + 4000)) / 4000 < 0.02


def test_the_last_questions_are_never_forgotten():
    seen = Seen()
    for number in range(3 * KEPT + 100):
        seen.look(key(number))
    assert all(seen.look(key(number)) for number in range(2 * KEPT + 200, 3 * KEPT + 100))


def test_old_questions_are_forgotten_and_memory_does_not_grow():
    seen = Seen()
    for number in range(4 * KEPT):
        seen.look(key(number))
    assert sum(seen.look(key(number)) for number in range(1000)) < 40
    assert sum(sys.getsizeof(bits) for bits in (seen._new, seen._old)) < 2 * 8 * WORDS + 1000
