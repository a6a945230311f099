"""The same beginning leads to the same replica, and nobody is buried under a popular one."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideway.core.route import Endpoint
from guideway.gateway.affinity import LOAD_FACTOR, prefer, prefix_of
from guideway.gateway.backend import Backend
from guideway.gateway.routing import choose

CHAT = b"/v1/chat/completions"


def backends(count):
    return tuple(Backend(Endpoint("10.0.0.1", 8000 + number)) for number in range(count))


def chat(*texts, **more):
    messages = [{"role": "user", "content": text} for text in texts]
    return json.dumps({"model": "poet", "messages": messages, **more}).encode()


def prefix(body, path=CHAT, size=1024):
    return prefix_of(path, body, size)


def test_the_same_beginning_has_the_same_prefix_whatever_follows():
    system = "You are a careful clerk. " * 60
    assert prefix(chat(system, "one")) == prefix(chat(system, "another", temperature=0.5))
    assert prefix(chat(system, "one")) != prefix(chat("x" + system, "one"))


def test_a_prompt_that_is_shorter_than_the_prefix_is_not_told_from_itself_by_its_parameters():
    assert prefix(chat("hi", user="a")) == prefix(chat("hi", user="b", stream=True)) != prefix(chat("ho"))


@pytest.mark.parametrize(
    ("path", "body", "size"),
    [
        (CHAT, chat("hi"), 0),
        (CHAT, b'{"model":"poet"}', 1024),
        (b"/v1/feedback", chat("hi"), 1024),
        (CHAT, b'{"tools":"' + b"x" * 20_000 + b'","messages":[]}', 1024),
    ],
)
def test_where_nothing_is_found_nothing_is_preferred(path, body, size):
    assert prefix_of(path, body, size) == 0


@pytest.mark.parametrize(
    ("path", "key"), [(CHAT, "messages"), (b"/v1/completions", "prompt"), (b"/v1/embeddings", "input")]
)
def test_each_path_has_its_own_prompt(path, key):
    one, other = ({"model": "poet", key: text} for text in ("x" * 90, "y" * 90))
    assert 0 != prefix_of(path, json.dumps(one).encode(), 64) != prefix_of(path, json.dumps(other).encode(), 64)


@given(st.binary(max_size=200), st.integers(0, 64))
def test_no_body_is_too_odd(body, size):
    assert prefix_of(CHAT, body, size) >= 0


def test_a_key_named_inside_a_string_is_not_taken_for_the_key():
    hostile = json.dumps({"user": 'a "messages": [1', "messages": [{"role": "user", "content": "hi"}]}).encode()
    assert prefix(hostile) == prefix(chat("hi"))


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_4000_prefixes_are_spread_evenly_over_the_replicas(count):
    some = backends(count)
    taken = Counter(prefer(some, prefix(chat(f"prompt {number}"))) for number in range(4000))
    assert all(taken[one] == pytest.approx(4000 / count, rel=0.2) for one in some)


def test_a_replica_that_goes_moves_only_its_own_prefixes():
    some = backends(4)
    prefixes = [prefix(chat(f"prompt {number}")) for number in range(500)]
    for one in prefixes:
        before = prefer(some, one)
        if before is not some[2]:
            assert prefer((some[0], some[1], some[3]), one) is before


def test_the_order_of_the_replicas_and_the_process_do_not_matter():
    some = backends(5)
    again = backends(5)[::-1]
    for number in range(200):
        one = prefix(chat(str(number)))
        assert prefer(some, one).endpoint == prefer(again, one).endpoint
    assert prefix(chat("fixed")) == 4100301368, "the same in every process, so that workers agree"


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 2**64 - 1))
def test_nobody_is_chosen_who_has_more_than_its_share_to_do(loads, one):
    some = backends(len(loads))
    for backend, load in zip(some, loads, strict=True):
        backend.outstanding = load
    assert prefer(some, one).outstanding <= LOAD_FACTOR * sum(loads) / len(loads) + 1.0


def test_one_popular_prefix_fills_its_replica_and_then_the_next_ones():
    some, one = backends(4), prefix(chat("popular"))
    for number in range(100):
        choose(some, avoid=None, now=0.0, turn=number, prefix=one).outstanding += 1
    loads = sorted(backend.outstanding for backend in some)
    assert loads[-1] <= 1.25 * 25 + 2
    assert loads[0] >= 1


def test_a_replica_that_is_ejected_or_just_failed_is_not_preferred():
    some, one = backends(3), prefix(chat("x"))
    first = prefer(some, one)
    assert choose(some, avoid=first, now=0.0, turn=0, prefix=one) is not first
    first.ejected_until = 5.0
    assert choose(some, avoid=None, now=1.0, turn=0, prefix=one) is not first
    assert choose(some, avoid=None, now=5.0, turn=0, prefix=one) is first
