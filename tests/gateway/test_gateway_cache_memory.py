"""The embedded store, and which answers are whole."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from gateway_paper import DONE, completion, event

from guideway.gateway.cache.memory import ENTRY_BYTES, Memory
from guideway.gateway.cache.stored import LARGEST, Stored, is_whole

JSON, EVENTS = b"application/json", b"text/event-stream; charset=utf-8"


def answer(body: bytes = b"{}") -> Stored:
    return Stored(200, JSON, body, (1, 1), 0.0)


def cost(stored: Stored) -> int:
    return ENTRY_BYTES + len(stored.body) + len(stored.content_type)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_is_put_is_got_until_its_time_is_over():
    clock = Clock()
    memory = Memory(10_000, clock)
    memory.put(b"k", answer(), 5.0)
    clock.now += 4.9
    assert memory.get(b"k") == answer()
    clock.now += 0.1
    assert memory.get(b"k") is None
    assert (len(memory), memory.size) == (0, 0)


def test_what_was_not_used_for_longest_makes_room():
    memory = Memory(2 * cost(answer()), Clock())
    memory.put(b"a", answer(), 5.0)
    memory.put(b"b", answer(), 5.0)
    assert memory.get(b"a")
    memory.put(b"c", answer(), 5.0)
    assert memory.get(b"b") is None
    assert memory.get(b"a")
    assert memory.get(b"c")


def test_an_answer_larger_than_the_store_is_left_out_and_nothing_is_lost_for_it():
    memory = Memory(2000, Clock())
    memory.put(b"a", answer(), 5.0)
    memory.put(b"b", answer(bytes(2000)), 5.0)
    assert memory.get(b"a")
    assert memory.get(b"b") is None


def test_putting_again_replaces_and_counts_once():
    memory = Memory(10_000, Clock())
    memory.put(b"a", answer(b"1"), 5.0)
    memory.put(b"a", answer(b"22"), 5.0)
    assert memory.size == cost(answer(b"22"))
    assert memory.get(b"a") == answer(b"22")


def test_a_sweep_forgets_what_is_too_old():
    clock = Clock()
    memory = Memory(1_000_000, clock)
    for number in range(100):
        memory.put(b"%d" % number, answer(), 1.0 + number)
    clock.now += 50.0
    memory.sweep(most=200)
    assert len(memory) == 50


def test_the_store_needs_no_more_memory_than_it_was_given():
    capacity = 2_000_000
    tracemalloc.start()
    try:
        memory = Memory(capacity, Clock())
        before = tracemalloc.get_traced_memory()[0]
        for number in range(6000):
            memory.put(os.urandom(32), answer(b"%d" % number * 5), 1000.0)
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert memory.size <= capacity
    assert len(memory) < 6000
    assert capacity / 3 < used <= capacity


GOOD = b"".join([event("a"), event("b"), DONE])


@pytest.mark.parametrize(
    ("status", "content_type", "body", "whole"),
    [
        (200, JSON, completion(), True),
        (201, JSON, completion(), False),
        (500, JSON, completion(), False),
        (200, JSON, completion()[:-1], False),
        (200, JSON, b"<html>", False),
        (200, JSON, b'{"error":{"message":"x"}}', False),
        (200, JSON, b'{"error":null,"choices":[]}', True),
        (200, JSON, b'{"object":"error","message":"x"}', False),
        (200, JSON, b'{"choices":[{"finish_reason":"abort"}]}', False),
        (200, JSON, b'{"a":"' + b"x" * LARGEST + b'"}', False),
        (200, EVENTS, GOOD, True),
        (200, EVENTS, GOOD.replace(b"\n\n", b"\r\n\r\n"), True),
        (200, EVENTS, event("a") + event("b"), False),
        (200, EVENTS, event('say "error" or data: [DONE]') + DONE, True),
        (200, EVENTS, event("data: [DONE]"), False),
        (200, EVENTS, event("a") + b'data: {"error": {"message": "x"}}\n\n' + DONE, False),
        (200, EVENTS, event("a") + b"event: error\ndata: {}\n\n" + DONE, False),
        (200, EVENTS, event("a") + b'data: {"choices":[{"finish_reason":"abort"}]}\n\n' + DONE, False),
        (200, EVENTS, DONE, True),
        (200, EVENTS, b"", False),
    ],
    ids=range(20),
)
def test_only_a_success_that_is_complete_is_kept(status, content_type, body, whole):
    assert is_whole(status, content_type, body) is whole
